"""A dedicated tenant's own tables: nobody else reaches them, and the way there and back loses and doubles nothing."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import asyncpg
import numpy as np
import pytest

from carrel.adapters.lexical.postgres import PostgresWords
from carrel.adapters.vectors.pgvector import PgvectorIndexes
from carrel.domain.access import for_job
from carrel.domain.errors import Conflict
from carrel.domain.jobs import Claim, JobKind
from carrel.domain.layout import Isolation, Layout, LayoutState, Thresholds
from carrel.domain.library import Generation
from carrel.domain.text import Term
from carrel.ingest.pipeline import Work
from carrel.ingest.reshape import Reshaping, consider
from carrel.ports.lexical import LexicalEntry
from carrel.ports.vectors import DenseEntry
from carrel.store import chunks, generations, layouts
from carrel.store.transaction import Database, Grant, Statement, Transaction
from support.catalogue_checks import problems
from support.raw import REFUSED, Raw, connected, posing
from support.shelves import Place, Shelf, a_shelf, anywhere, pointing
from support.stand import Stand

NORTH = pointing(1)
LARGE, SMALL = Thresholds(promote_at=1, demote_below=0), Thresholds(promote_at=1_000_000, demote_below=999_999)
STATES = tuple(LayoutState)
WAY = (
    (LayoutState.FILLING, LayoutState.PROMOTING),
    (LayoutState.PROMOTING, LayoutState.DEDICATED),
    (LayoutState.DEDICATED, LayoutState.DEMOTING),
    (LayoutState.DEMOTING, LayoutState.LEAVING),
)
FOX = [Term("fox", "fox")]
ENTRIES = 30
_CLAIM = """
    update jobs set lease_epoch = lease_epoch + 1, leased_until = now() + interval '1 hour', asked_again = false
    where tenant_id = $1 and kind = 'reshape' returning id, lease_epoch
"""

_NOT_NOW = Statement("""
    update jobs set due_at = now() + interval '1 hour' where tenant_id = :tenant and kind = 'reshape'
""")


@pytest.fixture(scope="module")
async def superuser(stand: Stand) -> AsyncIterator[Raw]:
    async with connected(stand.endpoint.superuser_url) as connection:
        yield connection


@pytest.fixture(scope="module")
async def app(stand: Stand) -> AsyncIterator[Raw]:
    async with connected(stand.endpoint.app_url) as connection:
        yield connection


# Who may reach them


async def test_the_serving_role_cannot_touch_own_tables(stand: Stand, superuser: Raw, app: Raw) -> None:
    shelf = await a_shelf(superuser, stand.database, LayoutState.DEDICATED)
    touches = ("select 1 from {0}", "insert into {0} default values", "delete from {0}", "drop table {0}", "lock {0}")
    async with posing(app, shelf.tenant):
        for table in own_tables(shelf):
            for touch in touches:
                with pytest.raises(REFUSED):
                    async with app.transaction():
                        await app.execute(touch.format(table))
        for schema in ("create table carrel_own.loot (x int)", "drop schema carrel_own cascade"):
            with pytest.raises(REFUSED):
                async with app.transaction():
                    await app.execute(schema)


async def test_own_tables_leave_every_wall_standing(stand: Stand, superuser: Raw) -> None:
    for state in (LayoutState.PROMOTING, LayoutState.DEDICATED, LayoutState.DEMOTING):
        await a_shelf(superuser, stand.database, state)
    assert [sentence for sentence in await problems(superuser) if "own" in sentence.split()] == []


SABOTAGE = {
    "grant select on {table} to {app}": "an own table that is not the index role's alone",
    "grant usage on schema carrel_own to {app}": "a schema of own tables that another role than the index may enter",
    "alter table {table} owner to {owner}": "an own table that is not the index role's alone",
    "alter table {table} no force row level security": "an own table without forced row-level security",
    "create policy more on {table} to {app} using (true)": "an own table with a policy for another role",
    "alter table {table} drop constraint {name}_tenant_id_check": "an own table that could hold another tenant's rows",
    "create view carrel_own.peek as select * from {table}": "something else than an own table",
}


@pytest.mark.parametrize("statement", SABOTAGE)
async def test_sabotage_of_an_own_table_is_found(stand: Stand, superuser: Raw, statement: str) -> None:
    shelf = await a_shelf(superuser, stand.database, LayoutState.DEDICATED)
    table = own_tables(shelf)[0]
    database = await superuser.fetchval("select current_database()")
    words = {"table": table, "name": table.split(".")[1], "app": f"{database}_app", "owner": f"{database}_owner"}
    transaction = superuser.transaction()
    await transaction.start()
    try:
        await superuser.execute(statement.format_map(words))
        found = await problems(superuser)
    finally:
        await transaction.rollback()
    assert any(SABOTAGE[statement] in sentence for sentence in found), found


async def test_an_own_table_holds_no_other_tenants_row_whoever_writes_it(stand: Stand, superuser: Raw) -> None:
    mine = await a_shelf(superuser, stand.database, LayoutState.DEDICATED)
    theirs = await a_shelf(superuser, stand.database, LayoutState.DEDICATED)
    with pytest.raises(asyncpg.CheckViolationError):
        await superuser.execute(
            f"insert into {own_tables(mine)[0]} select $1, $1, $1, $1, $1, array_fill(0, array[384])::real[]::halfvec",
            theirs.tenant,
        )


async def test_entries_of_a_version_that_is_gone_are_not_kept(stand: Stand, superuser: Raw) -> None:
    """No foreign key guards own tables, so writing looks for the version itself."""
    shelf = await a_shelf(superuser, stand.database, LayoutState.DEDICATED)
    place = await shelf.place()
    (dense,) = await shelf.dense(place, NORTH)
    (words,) = await shelf.lexical(place, "fox")
    async with stand.database.transaction(shelf.grant) as tx:
        await chunks.clear(tx, [place.version])
    await superuser.execute("delete from document_versions where id = $1", place.version)
    with pytest.raises(Conflict):
        await PgvectorIndexes(stand.database).of(shelf.grant).put([dense])
    with pytest.raises(Conflict):
        await PostgresWords(stand.database).of(shelf.grant).put([words])
    assert await entries(superuser, shelf) == {"pooled": 0, "own": 0}


# There and back


async def test_a_tenant_goes_up_and_down_with_all_its_entries(stand: Stand, superuser: Raw) -> None:
    shelf, place = await a_full_shelf(stand, superuser)
    await reshape(stand.database, superuser, shelf, LARGE)
    assert await isolation(superuser, shelf) == "dedicated"
    await hold_everything(stand, superuser, shelf, place, where="own")

    await reshape(stand.database, superuser, shelf, SMALL)
    assert await isolation(superuser, shelf) == "pooled"
    await hold_everything(stand, superuser, shelf, place, where="pooled")

    await superuser.execute(
        "update layouts set changed_at = now() - interval '2 minutes' where tenant_id = $1", shelf.tenant
    )
    await reshape(stand.database, superuser, shelf, SMALL)
    for table in own_tables(shelf):
        assert await superuser.fetchval("select to_regclass($1)", table) is None
    await hold_everything(stand, superuser, shelf, place, where="pooled")


async def test_own_tables_stay_while_a_search_may_still_read_them(stand: Stand, superuser: Raw) -> None:
    shelf, _ = await a_full_shelf(stand, superuser)
    await reshape(stand.database, superuser, shelf, LARGE)
    await reshape(stand.database, superuser, shelf, SMALL)
    assert await superuser.fetchval("select to_regclass($1) is not null", own_tables(shelf)[0])
    async with stand.database.transaction(shelf.grant) as tx:
        assert not await layouts.close_own(tx)
        assert not (await layouts.look(tx)).is_due(SMALL)


@pytest.mark.parametrize("moment", ["before the commit", "after the commit"])
@pytest.mark.parametrize("thresholds", [LARGE, SMALL], ids=["up", "down"])
async def test_dying_at_any_transaction_loses_and_doubles_nothing(
    stand: Stand, superuser: Raw, thresholds: Thresholds, moment: str
) -> None:
    """In each of its transactions in turn; the next worker goes on from what is there."""
    for last in range(1, 40):
        shelf, place = await a_full_shelf(stand, superuser)
        if thresholds is SMALL:
            await reshape(stand.database, superuser, shelf, LARGE)
        mortal = Mortal(stand.database, last, committed=moment.startswith("after"))
        await reshape(mortal, superuser, shelf, thresholds)
        await hold_everything(stand, superuser, shelf, place)
        await reshape(stand.database, superuser, shelf, thresholds)
        where = "own" if thresholds is LARGE else "pooled"
        assert await isolation(superuser, shelf) == ("dedicated" if thresholds is LARGE else "pooled")
        await hold_everything(stand, superuser, shelf, place, where=where)
        if mortal.left > 0:
            return
    raise AssertionError("It never came to its end.")


async def test_what_changes_on_the_way_is_there_at_the_end(stand: Stand, superuser: Raw) -> None:
    """Put, replaced and deleted in each state, between any two steps."""
    shelf, place = await a_full_shelf(stand, superuser)
    vectors, words = PgvectorIndexes(stand.database).of(shelf.grant), PostgresWords(stand.database).of(shelf.grant)
    kept = {hit.chunk for hit in await vectors.nearest(NORTH, sources=frozenset({place.source}), limit=1_000)}
    async with stand.database.transaction(shelf.grant) as tx:
        await layouts.open_own(tx)
        await layouts.index_own(tx)
    for former, following in WAY:
        await reconcile(stand.database, shelf)
        doomed = await shelf.place(beside=place)
        new = await shelf.dense(await shelf.place(beside=place), NORTH)
        gone = await shelf.dense(doomed, NORTH)
        await vectors.put([*new, *gone])
        await words.put(await as_words([*new, *gone]))
        async with stand.database.transaction(shelf.grant) as tx:
            await chunks.clear(tx, [doomed.version])
        kept |= {entry.chunk for entry in new}
        await reconcile(stand.database, shelf)
        if former is LayoutState.DEDICATED:
            async with stand.database.transaction(shelf.grant) as tx:
                await layouts.clear_pooled(tx, most=1_000)
        async with stand.database.transaction(shelf.grant) as tx:
            assert await layouts.turn(tx, former, following), former
        found = await vectors.nearest(NORTH, sources=frozenset({place.source}), limit=1_000)
        assert {hit.chunk for hit in found} == kept, following
        matches = await words.matching(FOX, sources=frozenset({place.source}), limit=1_000)
        assert {hit.chunk for hit in matches.hits} == kept, following


async def test_a_switch_waits_until_both_sides_are_alike(stand: Stand, superuser: Raw) -> None:
    shelf, _ = await a_full_shelf(stand, superuser)
    async with stand.database.transaction(shelf.grant) as tx:
        await layouts.open_own(tx)
        assert await layouts.turn(tx, LayoutState.FILLING, LayoutState.PROMOTING)
        assert not await layouts.turn(tx, LayoutState.PROMOTING, LayoutState.DEDICATED)
        assert not await layouts.turn(tx, LayoutState.DEDICATED, LayoutState.DEMOTING)


async def test_writers_and_the_switch_take_turns(stand: Stand, superuser: Raw) -> None:
    """A put that began under one layout is committed before the next one begins, so it is never on one side only."""
    shelf, place = await a_full_shelf(stand, superuser)
    vectors, words = PgvectorIndexes(stand.database).of(shelf.grant), PostgresWords(stand.database).of(shelf.grant)
    putting = True

    async def put() -> int:
        count = 0
        while putting:
            new = await shelf.dense(await shelf.place(beside=place), NORTH)
            await vectors.put(new)
            await words.put(await as_words(new))
            count += 1
        return count

    async with connected(stand.endpoint.superuser_url) as another, asyncio.TaskGroup() as group:
        task = group.create_task(put())
        await reshape(stand.database, another, shelf, LARGE)
        await reshape(stand.database, another, shelf, SMALL)
        putting = False
    assert task.result() > 0
    await hold_everything(stand, superuser, shelf, place, where="pooled", more=task.result())


# By arithmetic


async def test_hnsw_finds_nearly_all_and_filters_before_it_ranks(stand: Stand, superuser: Raw) -> None:
    """More candidates than are compared one by one: the graph is walked."""
    random = np.random.default_rng(11)
    shelf = await a_shelf(superuser, stand.database, LayoutState.DEDICATED)
    ours, others = await shelf.place(), await shelf.place()
    centres = anywhere(random, 60)
    around = [centres[n % 60] + 0.6 * noise for n, noise in enumerate(anywhere(random, 5_000))]
    cloud = [(vector / np.linalg.norm(vector)).astype(np.float32) for vector in around]
    mine, foreign = await shelf.dense(ours, *cloud[:4_400]), await shelf.dense(others, *cloud[4_400:])
    index = PgvectorIndexes(stand.database).of(shelf.grant)
    for first in range(0, 4_400, 500):
        await index.put(mine[first : first + 500])
    await index.put(foreign)
    matrix = np.stack([entry.vector for entry in mine])
    found = 0
    for question in anywhere(random, 20):
        exact = {mine[place].chunk for place in np.argsort(-(matrix @ question))[:10]}
        hits = await index.nearest(question, sources=frozenset({ours.source}), limit=100)
        assert len(hits) == 100
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert {hit.chunk for hit in hits} <= {entry.chunk for entry in mine}
        found += len(exact & {hit.chunk for hit in hits[:10]})
    assert found >= 190


def a_layout(state: LayoutState, count: int, asked: Isolation | None = None) -> Layout:
    return Layout(state, asked, count, settled=True)


@pytest.mark.parametrize("state", STATES)
def test_between_the_thresholds_nothing_moves(state: LayoutState) -> None:
    rules = Thresholds(promote_at=20_000, demote_below=12_000)
    large = state in {LayoutState.FILLING, LayoutState.PROMOTING, LayoutState.DEDICATED}
    for count, wanted in ((20_000, True), (19_999, large), (12_000, large), (11_999, False)):
        assert (a_layout(state, count).wanted(rules) is Isolation.DEDICATED) == wanted
    for asked in Isolation:
        assert a_layout(state, 0, asked).wanted(rules) is asked is a_layout(state, 10**6, asked).wanted(rules)


def test_only_who_does_not_lie_as_it_should_is_due() -> None:
    rules = Thresholds(promote_at=20, demote_below=10)
    assert not a_layout(LayoutState.POOLED, 19).is_due(rules)
    assert a_layout(LayoutState.POOLED, 20).is_due(rules)
    assert not a_layout(LayoutState.DEDICATED, 10).is_due(rules)
    assert a_layout(LayoutState.DEDICATED, 9).is_due(rules)
    assert all(a_layout(state, 15).is_due(rules) for state in STATES if state not in {"pooled", "dedicated"})
    assert not replace(a_layout(LayoutState.LEAVING, 15), settled=False).is_due(rules)


# Helpers


class DiedError(Exception):
    """What a worker that is killed does not say."""


class Mortal(Database):
    """A database whose user dies in its `left`-th transaction, before or after the commit."""

    def __init__(self, real: Database, left: int, *, committed: bool) -> None:
        self.real = real
        self.left = left
        self._committed = committed

    @asynccontextmanager
    async def transaction(self, grant: Grant, *, timeout: float = 30.0) -> AsyncIterator[Transaction]:
        self.left -= 1
        async with self.real.transaction(grant, timeout=timeout) as tx:
            yield tx
            if self.left == 0 and not self._committed:
                raise DiedError
        if self.left == 0:
            raise DiedError


def own_tables(shelf: Shelf) -> list[str]:
    return [f"carrel_own.{kind}_{shelf.tenant.hex}" for kind in layouts.KINDS]


async def a_full_shelf(stand: Stand, superuser: Raw) -> tuple[Shelf, Place]:
    shelf = await a_shelf(superuser)
    place = await shelf.place()
    new = await shelf.dense(place, *anywhere(np.random.default_rng(3), ENTRIES))
    await PgvectorIndexes(stand.database).of(shelf.grant).put(new)
    words = PostgresWords(stand.database).of(shelf.grant)
    await words.put(await as_words(new))
    await words.weigh()
    return shelf, place


async def as_words(entries: Sequence[DenseEntry]) -> list[LexicalEntry]:
    return [LexicalEntry(entry.chunk, entry.source, entry.version, ("fox", "hen")) for entry in entries]


async def reshape(database: Database, superuser: Raw, shelf: Shelf, thresholds: Thresholds) -> None:
    """One claimed job to its end, or to its worker's. A worker that died left the job to the next one.

    Other tests' worker, if it runs beside, is not to take it first.
    """
    grant = for_job(shelf.tenant, None)
    real = database.real if isinstance(database, Mortal) else database
    async with real.transaction(grant) as tx:
        await consider(tx, thresholds)
        await tx.run(_NOT_NOW)
    for row in await superuser.fetch(_CLAIM, shelf.tenant):
        claim = Claim(shelf.tenant, row["id"], JobKind.RESHAPE, shelf.tenant, None, 1, row["lease_epoch"])
        with suppress(DiedError):
            await Reshaping(database, thresholds).run(Work(claim, grant))


async def reconcile(database: Database, shelf: Shelf) -> None:
    for kind in layouts.KINDS:
        reached = None
        while True:
            async with database.transaction(shelf.grant) as tx:
                reached = await layouts.reconcile(tx, kind, after=reached, most=7)
            if reached is None:
                break


async def hold_everything(
    stand: Stand, superuser: Raw, shelf: Shelf, place: Place, *, where: str | None = None, more: int = 0
) -> None:
    """Both legs find each entry once; and where that is known, the other layout keeps none of them."""
    sources = frozenset({place.source})
    dense = await PgvectorIndexes(stand.database).of(shelf.grant).nearest(NORTH, sources=sources, limit=1_000)
    words = await PostgresWords(stand.database).of(shelf.grant).matching(FOX, sources=sources, limit=1_000)
    for hits in (dense, words.hits):
        assert len({hit.chunk for hit in hits}) == len(hits) == ENTRIES + more
    if where == "own":
        assert (await entries(superuser, shelf))["pooled"] == 0


async def entries(superuser: Raw, shelf: Shelf) -> dict[str, int]:
    """How many each layout keeps, of both kinds."""
    pooled = [f"select count(*) from {table} where tenant_id = $1" for table in ("dense_entries", "lexical_entries")]
    own = [f"select count(*) from {table} where tenant_id = $1" for table in own_tables(shelf)]
    return {
        name: sum([await superuser.fetchval(query, shelf.tenant) for query in queries])
        for name, queries in (("pooled", pooled), ("own", own))
    }


async def isolation(superuser: Raw, shelf: Shelf) -> str:
    return str(await superuser.fetchval("select isolation from tenants where id = $1", shelf.tenant))


# The length of vectors


async def test_own_tables_take_their_length_and_index_from_the_first_document_once(
    stand: Stand, superuser: Raw
) -> None:
    """However many first documents come at the same moment."""
    shelf = await a_shelf(superuser)
    await superuser.execute("delete from generations where tenant_id = $1", shelf.tenant)
    async with stand.database.transaction(shelf.grant) as tx:
        await layouts.begin_dedicated(tx)

    async def first() -> Generation:
        async with stand.database.transaction(shelf.grant) as tx:
            return await generations.live_or_first(tx, embedder="other", dimension=96, analyzer="test")

    made = await asyncio.gather(*(first() for _ in range(4)))

    assert len({generation.id for generation in made}) == 1
    table = own_tables(shelf)[0]
    shape = "select atttypmod from pg_attribute where attrelid = $1::regclass and attname = 'embedding'"
    assert await superuser.fetchval(shape, table) == 96
    indexes = "select pg_get_indexdef(indexrelid) from pg_index where indrelid = $1::regclass"
    assert sum("hnsw" in row[0] for row in await superuser.fetch(indexes, table)) == 1


async def test_own_tables_that_are_made_after_the_first_document_have_its_length(stand: Stand, superuser: Raw) -> None:
    shelf = await a_shelf(superuser, stand.database, LayoutState.DEDICATED, dimension=96)
    shape = "select atttypmod, attstorage from pg_attribute where attrelid = $1::regclass and attname = 'embedding'"
    row = await superuser.fetchrow(shape, own_tables(shelf)[0])
    assert row is not None
    assert tuple(row) == (96, b"m")


async def test_no_vector_is_kept_beside_its_row(stand: Stand, superuser: Raw) -> None:
    """One in another place would be fetched row by row by each scan."""
    kept = """
        select c.relname, a.attstorage from pg_attribute a join pg_class c on c.oid = a.attrelid
        where a.attname in ('embedding', 'terms') and c.relkind in ('r', 'p')
          and c.relnamespace in ('carrel'::regnamespace, 'carrel_own'::regnamespace) and c.relname ~ '^(dense|lexical)_'
          and c.relname !~ '^lexical_(profiles|stats)'
    """
    await a_shelf(superuser, stand.database, LayoutState.DEDICATED, dimension=96)
    rows = await superuser.fetch(kept)
    assert len(rows) > 34
    assert [row["relname"] for row in rows if row["attstorage"] != b"m"] == []
