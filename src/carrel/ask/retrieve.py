"""Retrieval: both legs, fused; then the last word is the database's, which loads text by id and scope together."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from carrel.ask.fuse import Fused, fuse
from carrel.ask.question import Question
from carrel.domain.access import ReadScope, TenantGrant
from carrel.domain.answers import Filters, Hit, Passage
from carrel.domain.ids import ChunkId, GenerationId
from carrel.ports.lexical import LexicalIndexes, Matches, WeighedTerm
from carrel.ports.vectors import VectorIndexes
from carrel.store import chunks
from carrel.store.chunks import Loaded, Wanted
from carrel.store.transaction import Database

log = structlog.get_logger(__name__)

_LEAST_DEPTH: Final = 100
_MOST_DEPTH: Final = 2_000
_PASSES: Final = 4


@dataclass(frozen=True, slots=True)
class Retrieved:
    """Passages best first, none twice, and what the lexical index knows of the question's terms."""

    passages: tuple[Passage, ...]
    terms: tuple[WeighedTerm, ...]
    highest: float
    dropped: int = 0
    alarms: int = 0


@dataclass(frozen=True, slots=True)
class Need:
    """What one retrieval must bring."""

    question: Question
    generation: GenerationId
    limit: int
    filters: Filters


@dataclass(frozen=True, slots=True)
class _Pass:
    fused: list[Fused]
    loaded: Loaded
    matches: Matches
    exhausted: bool


class Retriever:
    def __init__(self, database: Database, vectors: VectorIndexes, words: LexicalIndexes) -> None:
        self._database = database
        self._vectors = vectors
        self._words = words

    async def retrieve(self, scope: ReadScope, need: Need) -> Retrieved:
        """Fetches more until `limit` is full or both legs have no more. Raises Unavailable."""
        (grant,) = scope.grants
        if not grant.sources:
            return Retrieved((), (), 0.0)
        depth = max(_LEAST_DEPTH, 2 * need.limit)
        last = await self._pass(grant, need, depth)
        for _ in range(_PASSES - 1):
            if not _wants_more(last, need.limit):
                break
            depth = min(depth * 4, _MOST_DEPTH)
            last = await self._again(grant, need, depth, last)
        return _retrieved(last, need.limit)

    async def _pass(self, grant: TenantGrant, need: Need, depth: int) -> _Pass:
        dense, matches = await self._legs(grant, need, depth)
        fused = fuse(dense, matches.hits)
        loaded = await self._load(grant, need, [found.chunk for found in fused])
        exhausted = len(dense) < depth and len(matches.hits) < depth
        return _Pass(fused, loaded, matches, exhausted or depth >= _MOST_DEPTH)

    async def _again(self, grant: TenantGrant, need: Need, depth: int, before: _Pass) -> _Pass:
        """What an index still claims on a second look, and the tenant never had, is foreign or invented: an alarm.

        An id that is gone on the second look was a document that was replaced between the index and the text.
        """
        after = await self._pass(grant, need, depth)
        alarming = before.loaded.unknown & after.loaded.unknown
        if alarming:
            log.error("index.unknown_ids", tenant=str(grant.tenant), count=len(alarming))
        return after

    async def _legs(self, grant: TenantGrant, need: Need, depth: int) -> tuple[Sequence[Hit], Matches]:
        sources = grant.sources or frozenset()
        try:
            async with asyncio.TaskGroup() as group:
                dense = group.create_task(
                    self._vectors.of(grant).nearest(need.question.vector, sources=sources, limit=depth)
                )
                words = group.create_task(
                    self._words.of(grant).matching(need.question.terms, sources=sources, limit=depth)
                )
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None
        return dense.result(), words.result()

    async def _load(self, grant: TenantGrant, need: Need, ids: Sequence[ChunkId]) -> Loaded:
        async with self._database.transaction(grant) as tx:
            return await chunks.load(tx, Wanted(ids, grant.sources or frozenset(), need.generation, need.filters))


def _wants_more(last: _Pass, limit: int) -> bool:
    if last.loaded.unknown:
        return True
    return not last.exhausted and len(_distinct(last)) < limit


def _distinct(last: _Pass) -> list[Passage]:
    """Passages in order of score; of twins (equal text) only the best."""
    kept: dict[bytes, Passage] = {}
    for found in last.fused:
        passage = last.loaded.passages.get(found.chunk)
        if passage is not None and passage.twin_of not in kept:
            kept[passage.twin_of] = replace(passage, score=found.score, dense=found.dense, lexical=found.lexical)
    return list(kept.values())


def _retrieved(last: _Pass, limit: int) -> Retrieved:
    return Retrieved(
        passages=tuple(_distinct(last)[:limit]),
        terms=last.matches.terms,
        highest=last.matches.highest,
        dropped=len(last.loaded.stale) + len(last.loaded.unknown),
        alarms=len(last.loaded.unknown),
    )
