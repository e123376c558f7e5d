"""The operator's first key: one, however many processes start at once on an empty database."""

import asyncio
from dataclasses import replace

from carrel.adapters.postgres import Endpoint, bootstrap
from carrel.tenancy.keys import Keys
from support.stand import a_database


async def test_of_processes_that_start_at_once_one_makes_the_first_operator_key(endpoint: Endpoint) -> None:
    empty = replace(endpoint, database="operators", owner="operators_owner", app="operators_app")
    bootstrap(empty)
    async with a_database(empty) as database:
        keys = Keys(database, pepper=b"a pepper for tests, of thirty-two bytes")

        made = await asyncio.gather(*(keys.first_operator() for _ in range(8)))

    assert sum(key is not None for key in made) == 1
