"""`kill -9` of the worker at any step of destroying a tenant: another one finishes it, and nothing is counted twice."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import pytest

from carrel.adapters.postgres import Endpoint
from carrel.domain.access import console
from support.fate import Order
from support.furnished import Furnished, furnish
from support.nursery import Nursery, a_nursery
from support.quiet import a_quiet_stand, blobs_of, drained
from support.raw import Raw, connected, tenant_tables
from support.rounds import rounds
from support.stand import Stand, a_worker
from support.tally import files_of

LEASE: Final = 0.6
OPERATOR: Final = console(None)
STEPS: Final = tuple(islice(cycle(("destroying", "unlinked", "destroyed")), rounds(3, 42)))


@pytest.fixture(scope="module")
async def quiet(endpoint: Endpoint, models: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with a_quiet_stand(endpoint, "dying", tmp_path_factory.mktemp("dying"), models=models) as standing:
        yield standing


@pytest.fixture
async def superuser(quiet: Stand) -> AsyncIterator[Raw]:
    async with connected(quiet.endpoint.superuser_url) as connection:
        yield connection


async def killed(nursery: Nursery, stand: Stand, models: Path, point: str, *, spare: int) -> bool:
    """Whether a worker process killed itself there; if it never came to that point, it is ended."""
    order = Order(stand.endpoint.app_url, str(blobs_of(stand)), str(models), point, lease=LEASE, spare=spare)
    async with nursery.victim("worker", order) as victim:
        while victim.returncode is None and (await stand.app.desk.backlog()).outstanding:
            with suppress(TimeoutError):
                await asyncio.wait_for(victim.wait(), 0.2)
        return victim.returncode == -signal.SIGKILL


async def rows_of(superuser: Raw, furnished: Furnished) -> dict[str, int]:
    counted = {
        table: await superuser.fetchval(f"select count(*) from {table} where tenant_id = $1", furnished.tenant.id)
        for table in await tenant_tables(superuser)
    }
    return {table: count for table, count in counted.items() if count and table not in {"jobs", "job_turns", "layouts"}}


async def test_a_worker_that_is_killed_on_the_way_is_followed_by_one_that_finishes(
    quiet: Stand, models: Path, superuser: Raw
) -> None:
    """One death after the other, each a little later than the one before, until nothing is left to die of."""
    async with a_worker(quiet):
        doomed = await furnish(quiet, "Doomed", superuser)
        spared = await furnish(quiet, "Spared", superuser)
    await drained(quiet)
    files, others = len(files_of(quiet, doomed.tenant.id)), await rows_of(superuser, spared)
    await quiet.app.life.delete(OPERATOR, doomed.tenant.id)
    before = await rows_of(superuser, doomed)

    deaths = 0
    async with a_nursery() as nursery:
        for number, point in enumerate(STEPS):
            deaths += await killed(nursery, quiet, models, point, spare=number % 3)
    await drained(quiet, lease=LEASE)

    assert deaths >= 2
    assert await rows_of(superuser, doomed) == {}
    assert files_of(quiet, doomed.tenant.id) == ()
    receipt = await quiet.app.life.receipt(OPERATOR, doomed.tenant.id)
    counted = {name: count for name, count in receipt.destroyed.items() if name not in {"jobs", "job_turns"}}
    assert receipt.completed_at is not None
    assert counted.pop("files") == files
    assert {table: count for table, count in counted.items() if table != "tenant_keys"} == before
    assert await rows_of(superuser, spared) == others
    assert (await quiet.app.documents.get(spared.principal, spared.document)).id == spared.document
