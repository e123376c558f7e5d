"""What every lexical index promises (ports/lexical.py), compared with BM25 written out in a few lines."""

import asyncio
import dataclasses
import math
import random
import threading
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from carrel.adapters.lexical import postgres
from carrel.adapters.lexical.postgres import AVERAGE_LENGTH, K1, B, PostgresWords, Statistics, StatisticsCache, _empty
from carrel.domain.errors import Unavailable
from carrel.domain.ids import GenerationId, SourceId, TenantId, VersionId
from carrel.domain.layout import LayoutState
from carrel.domain.text import Term
from carrel.ports.lexical import LexicalEntry, LexicalIndexes, Matches
from carrel.store.transaction import Database
from support.raw import Raw, connected
from support.shelves import Shelf, a_shelf
from support.stand import Stand

LAYOUTS = (LayoutState.POOLED, LayoutState.PROMOTING, LayoutState.DEDICATED, LayoutState.DEMOTING)


@pytest.fixture(scope="module")
async def superuser(stand: Stand) -> AsyncIterator[Raw]:
    async with connected(stand.endpoint.superuser_url) as connection:
        yield connection


@pytest.fixture
def indexes(stand: Stand) -> LexicalIndexes:
    return PostgresWords(stand.database)


@pytest.fixture(params=LAYOUTS)
def new_shelf(request: pytest.FixtureRequest, stand: Stand, superuser: Raw) -> Callable[[], Awaitable[Shelf]]:
    return lambda: a_shelf(superuser, stand.database, request.param)


@pytest.fixture
async def shelf(new_shelf: Callable[[], Awaitable[Shelf]]) -> Shelf:
    return await new_shelf()


def terms(text: str) -> list[Term]:
    return [Term(word, word) for word in text.split()]


def bm25(question: str, entry: LexicalEntry, known: Sequence[LexicalEntry]) -> float:
    """`known` are the entries that the statistics have seen; a word that they have not counts as one in one chunk."""
    counts, score = Counter(entry.terms), 0.0
    for word in set(question.split()):
        holding = max(1, sum(word in other.terms for other in known))
        rarity = math.log(1 + (max(len(known), holding) - holding + 0.5) / (holding + 0.5))
        length = 1 - B + B * len(entry.terms) / AVERAGE_LENGTH
        score += rarity * counts[word] * (K1 + 1) / (counts[word] + K1 * length)
    return score


async def found(indexes: LexicalIndexes, shelf: Shelf, question: str, *sources: SourceId, limit: int = 100) -> Matches:
    return await indexes.of(shelf.grant).matching(terms(question), sources=frozenset(sources), limit=limit)


async def test_scores_are_those_of_bm25(indexes: LexicalIndexes, shelf: Shelf) -> None:
    chance = random.Random(7)
    vocabulary = [f"w{number}" for number in range(60)]
    texts = [" ".join(chance.choices(vocabulary, range(60, 0, -1), k=chance.randrange(5, 200))) for _ in range(80)]
    place = await shelf.place()
    entries = await shelf.lexical(place, *texts)
    await indexes.of(shelf.grant).put(entries)
    await indexes.of(shelf.grant).weigh()
    for _ in range(8):
        question = " ".join(chance.sample(vocabulary, 4))
        expected = {entry.chunk: bm25(question, entry, entries) for entry in entries}
        expected = {chunk: score for chunk, score in expected.items() if score > 0}
        matches = await found(indexes, shelf, question, place.source)
        assert {hit.chunk: hit.score for hit in matches.hits} == pytest.approx(expected, rel=1e-5)
        assert [hit.score for hit in matches.hits] == sorted((hit.score for hit in matches.hits), reverse=True)
        assert all(hit.score < matches.highest for hit in matches.hits)


async def test_what_was_not_weighed_yet_is_found_as_if_in_one_chunk(indexes: LexicalIndexes, shelf: Shelf) -> None:
    place = await shelf.place()
    entries = await shelf.lexical(place, "red red fox", "red hen", "grey goose")
    await indexes.of(shelf.grant).put(entries)
    before = await found(indexes, shelf, "red", place.source)
    assert {hit.chunk: hit.score for hit in before.hits} == pytest.approx(
        {entry.chunk: bm25("red", entry, ()) for entry in entries[:2]}, rel=1e-5
    )
    assert [term.chunks for term in before.terms] == [0]

    await indexes.of(shelf.grant).weigh()
    late = await shelf.lexical(await shelf.place(beside=place), "red unicorn")
    await indexes.of(shelf.grant).put(late)
    after = await found(indexes, shelf, "unicorn", place.source)
    assert {hit.chunk: hit.score for hit in after.hits} == pytest.approx(
        {late[0].chunk: bm25("unicorn", late[0], entries)}, rel=1e-5
    )


async def test_each_term_says_in_how_many_chunks_it_occurs(indexes: LexicalIndexes, shelf: Shelf) -> None:
    place = await shelf.place()
    await indexes.of(shelf.grant).put(await shelf.lexical(place, "fox fox hen", "fox", "goose"))
    await indexes.of(shelf.grant).weigh()
    matches = await found(indexes, shelf, "fox goose dodo fox", place.source)
    assert {term.term.stem: term.chunks for term in matches.terms} == {"fox": 2, "goose": 1, "dodo": 0}
    weights = [term.weight for term in matches.terms]
    assert weights == sorted(weights, reverse=True)


async def test_a_chunk_without_any_of_the_terms_is_no_hit(indexes: LexicalIndexes, shelf: Shelf) -> None:
    place = await shelf.place()
    await indexes.of(shelf.grant).put(await shelf.lexical(place, "fox", "goose"))
    assert (await found(indexes, shelf, "dodo", place.source)).hits == []
    nothing = await found(indexes, shelf, "", place.source)
    assert (nothing.hits, nothing.terms, nothing.highest) == ([], (), 0.0)


async def test_a_chunk_that_is_put_twice_is_kept_and_counted_once(indexes: LexicalIndexes, shelf: Shelf) -> None:
    index, place = indexes.of(shelf.grant), await shelf.place()
    fox, goose = await shelf.lexical(place, "fox", "goose")
    hen = dataclasses.replace(fox, terms=("hen",))
    await index.put([fox, goose])
    await index.put([fox, goose])
    await index.put([fox, hen, goose])
    await asyncio.gather(*(index.put([hen, goose]) for _ in range(4)))
    await index.weigh()
    await index.weigh()

    matches = await found(indexes, shelf, "fox hen goose", place.source)

    assert {hit.chunk for hit in matches.hits} == {hen.chunk, goose.chunk}
    assert {term.term.stem: term.chunks for term in matches.terms} == {"fox": 0, "hen": 1, "goose": 1}


async def test_sources_filter_before_ranking_and_never_beyond_the_grant(indexes: LexicalIndexes, shelf: Shelf) -> None:
    ours, others = await shelf.place(), await shelf.place()
    (mine,) = await shelf.lexical(ours, "fox and very many other words that make it long")
    await indexes.of(shelf.grant).put([mine])
    await indexes.of(shelf.grant).put(await shelf.lexical(others, *["fox fox fox"] * 40))
    assert [hit.chunk for hit in (await found(indexes, shelf, "fox", ours.source, limit=1)).hits] == [mine.chunk]
    narrow = indexes.of(shelf.grant_of(ours))
    both = frozenset({ours.source, others.source})
    assert [hit.chunk for hit in (await narrow.matching(terms("fox"), sources=both, limit=9)).hits] == [mine.chunk]
    assert (await narrow.matching(terms("fox"), sources=frozenset({others.source}), limit=9)).hits == []
    assert (await found(indexes, shelf, "fox")).hits == []


async def test_equal_scores_come_in_the_order_of_their_ids(indexes: LexicalIndexes, shelf: Shelf) -> None:
    place = await shelf.place()
    entries = await shelf.lexical(place, *["fox"] * 12)
    await indexes.of(shelf.grant).put(entries[::-1])
    for limit in (4, 12, 50):
        matches = await found(indexes, shelf, "fox", place.source, limit=limit)
        assert [hit.chunk for hit in matches.hits] == sorted(entry.chunk for entry in entries)[:limit]


async def test_forgetting_takes_one_version_out_of_entries_and_statistics(
    indexes: LexicalIndexes, shelf: Shelf
) -> None:
    index, old = indexes.of(shelf.grant), await shelf.place()
    new = await shelf.place(beside=old)
    (kept,) = await shelf.lexical(new, "fox hen")
    await index.put(await shelf.lexical(old, "fox", "fox goose"))
    await index.put([kept])
    await index.weigh()
    assert [term.chunks for term in (await found(indexes, shelf, "fox", old.source)).terms] == [3]

    await index.forget(old.version)
    await index.forget(old.version)
    await index.forget(VersionId(uuid.uuid4()))
    await index.weigh()

    matches = await found(indexes, shelf, "fox goose", old.source)
    assert [hit.chunk for hit in matches.hits] == [kept.chunk]
    assert {term.term.stem: term.chunks for term in matches.terms} == {"fox": 1, "goose": 0}
    assert matches.hits[0].score == pytest.approx(bm25("fox goose", kept, [kept]), rel=1e-5)


async def test_another_tenants_documents_never_change_my_scores(
    indexes: LexicalIndexes, new_shelf: Callable[[], Awaitable[Shelf]]
) -> None:
    """Statistics that were shared would tell what others write about."""
    mine, theirs = await new_shelf(), await new_shelf()
    here, there = await mine.place(), await theirs.place()
    await indexes.of(mine.grant).put(await mine.lexical(here, "fox hen", "fox", "goose"))
    await indexes.of(mine.grant).weigh()
    before = await found(indexes, mine, "fox goose merger", here.source)

    await indexes.of(theirs.grant).put(await theirs.lexical(there, *["fox goose merger merger"] * 30))
    await indexes.of(theirs.grant).weigh()
    await indexes.of(mine.grant).weigh()

    assert await found(indexes, mine, "fox goose merger", here.source) == before
    both = frozenset({here.source, there.source})
    seen = await indexes.of(mine.grant).matching(terms("fox goose merger"), sources=both, limit=100)
    assert seen == before
    assert (await found(indexes, mine, "merger", there.source)).hits == []
    await indexes.of(mine.grant).forget(there.version)
    assert len((await found(indexes, theirs, "merger", there.source)).hits) == 30


async def test_a_question_of_very_many_words_is_answered_by_the_rarest(indexes: LexicalIndexes, shelf: Shelf) -> None:
    place = await shelf.place()
    common = " ".join(f"common{number}" for number in range(200))
    (rare, *_rest) = entries = await shelf.lexical(place, f"{common} needle", *[common] * 5)
    await indexes.of(shelf.grant).put(entries)
    await indexes.of(shelf.grant).weigh()
    matches = await found(indexes, shelf, f"{common} needle", place.source)
    assert matches.hits[0].chunk == rare.chunk
    assert matches.terms[0].term.stem == "needle"
    assert len(matches.terms) <= 64


async def test_of_a_chunk_with_very_many_terms_the_most_frequent_are_found(
    indexes: LexicalIndexes, shelf: Shelf
) -> None:
    place = await shelf.place()
    entries = await shelf.lexical(place, " ".join(f"term{number}" for number in range(40_000)) + " needle needle")
    await indexes.of(shelf.grant).put(entries)
    matches = await found(indexes, shelf, "needle", place.source)
    assert [hit.chunk for hit in matches.hits] == [entries[0].chunk]


async def test_weighing_much_does_not_hold_up_others(
    indexes: LexicalIndexes, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    sum_up, moved_on = postgres._sum_up, threading.Event()

    def slowly(rows: Sequence[Any]) -> tuple[int, postgres.Ids, postgres.Ids]:
        assert moved_on.wait(30), "the loop stood still while it was weighed"
        return sum_up(rows)

    monkeypatch.setattr(postgres, "_sum_up", slowly)
    weighing = asyncio.create_task(indexes.of(shelf.grant).weigh())
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert not weighing.done()
    moved_on.set()
    await weighing


async def test_a_database_that_does_not_answer_is_unavailable(stand: Stand, shelf: Shelf) -> None:
    database = await Database.connect(stand.endpoint.app_url, connections=1)
    await database.close()
    with pytest.raises(Unavailable):
        await PostgresWords(database).of(shelf.grant).matching(terms("fox"), sources=frozenset(), limit=1)


def test_statistics_are_kept_by_tenant_and_only_while_they_are_true() -> None:
    cache = StatisticsCache(budget=1)
    one, other, generation = TenantId(uuid.uuid4()), TenantId(uuid.uuid4()), GenerationId(uuid.uuid4())
    kept = dataclasses.replace(_empty(), revision=3)
    cache.put(one, generation, kept)
    assert cache.get(one, generation, 3) is kept
    assert cache.get(one, generation, 4) is None
    assert cache.get(other, generation, 3) is None
    assert cache.get(one, GenerationId(uuid.uuid4()), 3) is None


def test_the_cache_keeps_within_its_budget_what_was_used_last() -> None:
    import numpy as np

    cache = StatisticsCache(budget=3 * 800)
    generation = GenerationId(uuid.uuid4())
    tenants = [TenantId(uuid.uuid4()) for _ in range(4)]
    for tenant in tenants[:3]:
        cache.put(tenant, generation, Statistics(1, 1, np.zeros(100, np.uint32), np.zeros(100, np.uint32)))
    assert cache.get(tenants[0], generation, 1)
    cache.put(tenants[3], generation, Statistics(1, 1, np.zeros(100, np.uint32), np.zeros(100, np.uint32)))
    assert [cache.get(tenant, generation, 1) is not None for tenant in tenants] == [True, False, True, True]
