"""What every vector index promises (ports/vectors.py), tried on each of them."""

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import numpy as np
import pytest

from carrel.adapters.vectors.memory import MemoryIndexes
from carrel.adapters.vectors.pgvector import PgvectorIndexes
from carrel.domain.answers import Hit
from carrel.domain.errors import Unavailable
from carrel.domain.ids import ChunkId, SourceId, VersionId
from carrel.domain.layout import LayoutState
from carrel.ports.vectors import Twin, VectorIndexes
from carrel.store.transaction import Database
from support.raw import Raw, connected
from support.shelves import DIMENSION, Shelf, Widened, a_shelf, anywhere, pointing
from support.stand import Stand

NORTH, NORTH_EAST, EAST, SOUTH = pointing(1), pointing(1, 1), pointing(0, 1), pointing(-1)
LAYOUTS = (LayoutState.POOLED, LayoutState.PROMOTING, LayoutState.DEDICATED, LayoutState.DEMOTING)
HALF = 2e-3  # half precision keeps eleven bits of each component


@pytest.fixture(scope="module")
async def superuser(stand: Stand) -> AsyncIterator[Raw]:
    async with connected(stand.endpoint.superuser_url) as connection:
        yield connection


WAYS = [(layout, DIMENSION) for layout in LAYOUTS] + [(LayoutState.POOLED, 1024), (LayoutState.DEDICATED, 1024)]


@pytest.fixture(params=["memory", *WAYS], ids=lambda way: way if way == "memory" else "-".join(map(str, way)))
def kept_by(request: pytest.FixtureRequest) -> tuple[LayoutState, int] | None:
    """None is memory, else pgvector in one of the layouts that a tenant may have there, for vectors of one length."""
    return None if request.param == "memory" else request.param


@pytest.fixture
def indexes(kept_by: tuple[LayoutState, int] | None, stand: Stand) -> VectorIndexes:
    if kept_by is None:
        return MemoryIndexes()
    return Widened(PgvectorIndexes(stand.database), kept_by[1])


@pytest.fixture
def new_shelf(kept_by: tuple[LayoutState, int] | None, stand: Stand, superuser: Raw) -> Callable[[], Awaitable[Shelf]]:
    layout, dimension = kept_by or (LayoutState.POOLED, DIMENSION)
    return lambda: a_shelf(superuser, stand.database, layout, dimension=dimension)


@pytest.fixture
async def shelf(new_shelf: Callable[[], Awaitable[Shelf]]) -> Shelf:
    return await new_shelf()


async def test_the_nearest_come_first_with_their_inner_products(indexes: VectorIndexes, shelf: Shelf) -> None:
    index, place = indexes.of(shelf.grant), await shelf.place()
    south, east, north, between = await shelf.dense(place, SOUTH, EAST, NORTH, NORTH_EAST)
    await index.put([south, east, north, between])

    hits = await index.nearest(NORTH, sources=frozenset({place.source}), limit=10)

    assert [hit.chunk for hit in hits] == [north.chunk, between.chunk, east.chunk, south.chunk]
    assert [hit.score for hit in hits] == pytest.approx([1, 2**-0.5, 0, -1], abs=HALF)


async def test_ids_and_scores_are_all_that_it_returns(indexes: VectorIndexes, shelf: Shelf) -> None:
    index, place = indexes.of(shelf.grant), await shelf.place()
    await index.put(await shelf.dense(place, NORTH))

    (hit,) = await index.nearest(NORTH, sources=frozenset({place.source}), limit=1)

    assert hit._fields == ("chunk", "score")
    assert (type(hit), type(hit.score)) == (Hit, float)
    assert isinstance(hit.chunk, uuid.UUID)


async def test_a_chunk_that_is_put_twice_is_kept_once(indexes: VectorIndexes, shelf: Shelf) -> None:
    index, place = indexes.of(shelf.grant), await shelf.place()
    (entry,) = await shelf.dense(place, NORTH)
    moved = dataclasses.replace(entry, vector=EAST)
    await index.put([entry])
    await index.put([entry])
    await index.put([entry, moved])
    await asyncio.gather(*(index.put([moved]) for _ in range(8)))

    hits = await index.nearest(EAST, sources=frozenset({place.source}), limit=10)

    assert [hit.chunk for hit in hits] == [entry.chunk]
    assert hits[0].score == pytest.approx(1, abs=HALF)
    assert await index.count() == 1


async def test_a_source_outside_the_list_does_not_use_up_the_limit(indexes: VectorIndexes, shelf: Shelf) -> None:
    index, ours, others = indexes.of(shelf.grant), await shelf.place(), await shelf.place()
    (far,) = await shelf.dense(ours, SOUTH)
    await index.put([far, *await shelf.dense(others, *[NORTH] * 50)])

    hits = await index.nearest(NORTH, sources=frozenset({ours.source}), limit=1)

    assert [hit.chunk for hit in hits] == [far.chunk]


async def test_nothing_comes_from_a_source_outside_the_grant(indexes: VectorIndexes, shelf: Shelf) -> None:
    """Whatever it is asked for."""
    ours, others = await shelf.place(), await shelf.place()
    (mine,) = await shelf.dense(ours, SOUTH)
    await indexes.of(shelf.grant).put([mine, *await shelf.dense(others, NORTH)])

    hits = await indexes.of(shelf.grant_of(ours)).nearest(
        NORTH, sources=frozenset({ours.source, others.source}), limit=10
    )

    assert [hit.chunk for hit in hits] == [mine.chunk]
    assert await indexes.of(shelf.grant_of(ours)).nearest(NORTH, sources=frozenset({others.source}), limit=1) == []


async def test_no_sources_and_unknown_sources_give_nothing(indexes: VectorIndexes, shelf: Shelf) -> None:
    index, place = indexes.of(shelf.grant), await shelf.place()
    await index.put(await shelf.dense(place, NORTH))
    assert await index.nearest(NORTH, sources=frozenset(), limit=10) == []
    assert await index.nearest(NORTH, sources=frozenset({SourceId(uuid.uuid4())}), limit=10) == []


async def test_equal_scores_come_in_the_order_of_their_ids(indexes: VectorIndexes, shelf: Shelf) -> None:
    index, place = indexes.of(shelf.grant), await shelf.place()
    entries = await shelf.dense(place, *[NORTH] * 20)
    await index.put(entries[::-1])
    for limit in (5, 20, 100):
        hits = await index.nearest(NORTH, sources=frozenset({place.source}), limit=limit)
        assert [hit.chunk for hit in hits] == sorted(entry.chunk for entry in entries)[:limit]


async def test_the_nearest_are_exactly_those_that_arithmetic_gives(indexes: VectorIndexes, shelf: Shelf) -> None:
    """Recall 1: only what half precision cannot tell apart may change places."""
    random = np.random.default_rng(7)
    index, place, other = indexes.of(shelf.grant), await shelf.place(), await shelf.place()
    entries = await shelf.dense(place, *anywhere(random, 400))
    await index.put([*entries, *await shelf.dense(other, *anywhere(random, 100))])
    truth = {entry.chunk: entry.vector for entry in entries}
    for question in anywhere(random, 10):
        exact = sorted((float(vector @ question) for vector in truth.values()), reverse=True)
        hits = await index.nearest(question, sources=frozenset({place.source}), limit=10)
        assert [hit.score for hit in hits] == pytest.approx(exact[:10], abs=HALF)
        assert [float(truth[hit.chunk] @ question) for hit in hits] == pytest.approx(exact[:10], abs=HALF)


async def test_forgetting_takes_one_version_and_no_other(indexes: VectorIndexes, shelf: Shelf) -> None:
    index, old = indexes.of(shelf.grant), await shelf.place()
    new = await shelf.place(beside=old)
    (kept,) = await shelf.dense(new, NORTH)
    await index.put([kept, *await shelf.dense(old, NORTH, EAST)])

    await index.forget(old.version)
    await index.forget(old.version)
    await index.forget(VersionId(uuid.uuid4()))

    hits = await index.nearest(NORTH, sources=frozenset({old.source}), limit=10)
    assert [hit.chunk for hit in hits] == [kept.chunk]
    assert await index.count() == 1


async def test_a_copy_has_the_vector_and_a_place_of_its_own(indexes: VectorIndexes, shelf: Shelf) -> None:
    index, place, target = indexes.of(shelf.grant), await shelf.place(), await shelf.place()
    north, east = await shelf.dense(place, NORTH, EAST)
    await index.put([north, east])
    new = await shelf.chunks(target, 3)
    twins = [Twin(north.chunk, new[0]), Twin(east.chunk, new[1]), Twin(ChunkId(uuid.uuid4()), new[2])]

    assert await index.copy(twins, source=target.source, version=target.version) == 2
    assert await index.copy(twins, source=target.source, version=target.version) == 2

    hits = await index.nearest(NORTH, sources=frozenset({target.source}), limit=10)
    assert [hit.chunk for hit in hits] == new[:2]
    assert [hit.score for hit in hits] == pytest.approx([1, 0], abs=HALF)
    await index.forget(place.version)
    assert len(await index.nearest(NORTH, sources=frozenset({target.source}), limit=10)) == 2
    assert await index.count() == 2


async def test_nothing_put_is_nothing_kept(indexes: VectorIndexes, shelf: Shelf) -> None:
    index = indexes.of(shelf.grant)
    await index.put([])
    assert await index.copy([], source=SourceId(uuid.uuid4()), version=VersionId(uuid.uuid4())) == 0
    assert await index.count() == 0


async def test_two_tenants_never_meet(indexes: VectorIndexes, new_shelf: Callable[[], Awaitable[Shelf]]) -> None:
    """Not in a search, a count, a copy or in forgetting, though each knows all of the other's ids."""
    mine, theirs = await new_shelf(), await new_shelf()
    here, there = await mine.place(), await theirs.place()
    ours, foreign = await mine.dense(here, EAST, NORTH), await theirs.dense(there, NORTH, NORTH)
    index, other = indexes.of(mine.grant), indexes.of(theirs.grant)
    await index.put(ours)
    await other.put(foreign)
    both = frozenset({here.source, there.source})

    assert {hit.chunk for hit in await index.nearest(NORTH, sources=both, limit=10)} == {e.chunk for e in ours}
    assert {hit.chunk for hit in await other.nearest(NORTH, sources=both, limit=10)} == {e.chunk for e in foreign}
    assert await index.nearest(NORTH, sources=frozenset({there.source}), limit=10) == []
    assert (await index.count(), await other.count()) == (2, 2)

    (target,) = await mine.chunks(here, 1)
    stolen = [Twin(foreign[0].chunk, target)]
    assert await index.copy(stolen, source=here.source, version=here.version) == 0

    await index.forget(there.version)
    assert await other.count() == 2
    assert len(await other.nearest(NORTH, sources=both, limit=10)) == 2


async def test_a_database_that_does_not_answer_is_unavailable(stand: Stand, shelf: Shelf) -> None:
    database = await Database.connect(stand.endpoint.app_url, connections=1)
    await database.close()
    with pytest.raises(Unavailable):
        await PgvectorIndexes(database).of(shelf.grant).nearest(NORTH, sources=frozenset(), limit=1)
