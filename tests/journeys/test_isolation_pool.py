"""Two thousand requests of ten tenants through four connections, with everything that goes wrong mixed in."""

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace

import asyncpg
import pytest

from carrel.adapters.lexical.postgres import PostgresWords
from carrel.adapters.vectors.pgvector import PgvectorIndexes
from carrel.ask.pipeline import SearchWish
from carrel.domain.access import Principal, enter, for_machine
from carrel.domain.errors import NotFound, Unavailable
from carrel.domain.ids import SourceId
from carrel.domain.library import Document
from carrel.domain.rights import Permission
from carrel.library.documents import Shelf
from carrel.store.transaction import Database, Statement
from carrel.wiring import Application, assemble
from support.stand import Stand
from support.tenants import SomeTenant, a_tenant

TENANTS = 10
REQUESTS = 2_200
AT_ONCE = 32
CONNECTIONS = 4

_SLEEP = Statement("select pg_sleep(10)")
_BREAK = Statement("select 1 / (count(*) - count(*)) from chunks")
_REFUSED = Statement("update documents set owner_id = gen_random_uuid()")
_EVERY_TEXT = Statement("select text from chunks")
_WHO = Statement("select current_setting('carrel.tenant', true)")


@dataclass(frozen=True)
class Desk:
    """One tenant's reader, and the word that stands in its only document."""

    reader: Principal
    tenant: SomeTenant
    source: SourceId
    document: Document
    word: str


@dataclass(frozen=True)
class Narrow:
    """The application on a pool of four connections."""

    app: Application
    database: Database


@pytest.fixture(scope="module")
async def narrow(carrel: Stand) -> AsyncIterator[Narrow]:
    database = await Database.connect(carrel.endpoint.app_url, connections=CONNECTIONS, patience=30)
    parts = replace(
        carrel.parts,
        base=replace(carrel.parts.base, database=database),
        vectors=PgvectorIndexes(database),
        words=PostgresWords(database),
    )
    yield Narrow(assemble(parts), database)
    await database.close()


@pytest.fixture(scope="module")
async def desks(carrel: Stand) -> list[Desk]:
    return list(await asyncio.gather(*(a_desk(carrel, number) for number in range(TENANTS))))


async def a_desk(carrel: Stand, number: int) -> Desk:
    tenant = await a_tenant(carrel.app, f"Desk {number}")
    word = f"marker{uuid.uuid4().hex}"
    source = await tenant.source()
    document = await tenant.put(source.id, "payments.md", f"# Payments\n\nThe payment service of {word}.\n")
    return Desk(await tenant.principal(), tenant, source.id, document, word)


class Requests:
    """Each returns what its asker was shown: the words of a tenant, or nothing."""

    def __init__(self, narrow: Narrow, chance: random.Random) -> None:
        self._app, self._database, self._chance = narrow.app, narrow.database, chance
        self.done: Counter[str] = Counter()

    async def search(self, desk: Desk, _: Desk) -> str:
        found = await self._app.asking.search(desk.reader, SearchWish("payment service"))
        assert (found.dropped, found.alarms) == (0, 0)
        return " ".join(hit.text for hit in found.hits)

    async def look_through(self, desk: Desk, _: Desk) -> str:
        page = await self._app.documents.listed(desk.reader, Shelf())
        assert [document.id for document in page.items] == [desk.document.id]
        return desk.word

    async def read_everything(self, desk: Desk, _: Desk) -> str:
        """As raw as it gets: every row of every chunk that the transaction shows."""
        async with self._database.transaction(enter(desk.reader, Permission.SEARCH)) as tx:
            rows = await tx.rows(_EVERY_TEXT)
            assert await tx.value(_WHO) == str(desk.tenant.id)
        return " ".join(row["text"] for row in rows)

    async def reach_over(self, desk: Desk, other: Desk) -> str:
        with pytest.raises(NotFound):
            await self._app.documents.get(desk.reader, other.document.id)
        with pytest.raises(NotFound):
            await self._app.asking.search(desk.reader, SearchWish("payment", sources=frozenset({other.source})))
        return desk.word

    async def platform(self, desk: Desk, _: Desk) -> str:
        async with self._database.transaction(for_machine()) as tx:
            assert await tx.rows(_EVERY_TEXT) == []
        return desk.word

    async def time_out(self, desk: Desk, _: Desk) -> str:
        with pytest.raises(Unavailable):
            async with self._database.transaction(enter(desk.reader, Permission.SEARCH), timeout=0.005) as tx:
                await tx.value(_SLEEP)
        return desk.word

    async def break_down(self, desk: Desk, _: Desk) -> str:
        with pytest.raises(asyncpg.DivisionByZeroError):
            async with self._database.transaction(enter(desk.reader, Permission.SEARCH)) as tx:
                await tx.value(_BREAK)
        return desk.word

    async def be_refused(self, desk: Desk, _: Desk) -> str:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with self._database.transaction(enter(desk.reader, Permission.SEARCH)) as tx:
                await tx.value(_REFUSED)
        return desk.word

    async def be_cancelled(self, desk: Desk, other: Desk) -> str:
        """Somewhere on the way: while it waits for a connection, in a statement, or at the commit."""
        kind = self._chance.choice([self.search, self.read_everything, self.look_through, self.reach_over])
        task = asyncio.create_task(kind(desk, other))
        await asyncio.sleep(self._chance.random() * 0.05)
        task.cancel()
        with suppress(asyncio.CancelledError):
            return await task
        self.done["cancelled on the way"] += 1
        return desk.word

    async def any_one(self, desks: list[Desk]) -> None:
        desk, other = self._chance.sample(desks, 2)
        kinds = (
            self.search,
            self.look_through,
            self.read_everything,
            self.reach_over,
            self.platform,
            self.be_cancelled,
        )
        faults = (self.time_out, self.break_down, self.be_refused)
        kind = self._chance.choices((*kinds, *faults), (6, 3, 6, 3, 1, 6, 1, 2, 2))[0]
        shown = await kind(desk, other)
        assert desk.word in shown
        assert not any(one.word in shown for one in desks if one is not desk)
        self.done[kind.__name__] += 1


async def test_many_tenants_through_few_connections_see_their_own_only(narrow: Narrow, desks: list[Desk]) -> None:
    requests = Requests(narrow, random.Random(7))
    limit = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with limit:
            await requests.any_one(desks)

    async with asyncio.TaskGroup() as group:
        for _ in range(REQUESTS):
            group.create_task(one())

    counts = requests.done
    assert counts.total() - counts["cancelled on the way"] == REQUESTS
    assert len(counts) == 10, counts
    assert counts["cancelled on the way"] > 100, counts
    assert narrow.database.borrowed == 0


async def test_no_connection_is_lost_to_those_who_gave_up(narrow: Narrow, desks: list[Desk]) -> None:
    """All cancelled at once, most while they wait in the line: the line is empty afterwards, and the pool is whole."""
    requests = Requests(narrow, random.Random(8))
    for pause in (0.0, 0.001, 0.01, 0.03):
        tasks = [asyncio.create_task(requests.search(desk, desk)) for desk in desks * 6]
        await asyncio.sleep(pause)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert narrow.database.borrowed == 0
    shown = await asyncio.gather(*(requests.read_everything(desk, desk) for desk in desks))
    assert [desk.word in text for desk, text in zip(desks, shown, strict=True)] == [True] * TENANTS
    assert narrow.database.borrowed == 0
