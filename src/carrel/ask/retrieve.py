"""Retrieval: both legs, fused; then the last word is the database's, which loads text by id and scope together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import isnan
from typing import Final

import structlog

from carrel.ask.fuse import DENSE_SHARE, DENSE_SHARE_OF_A_NAME, Fused, fuse
from carrel.ask.question import Question
from carrel.domain.access import ReadScope, TenantGrant
from carrel.domain.answers import Hit, Passage, Versions
from carrel.domain.filters import Filters
from carrel.domain.ids import ChunkId, GenerationId
from carrel.ports.lexical import LexicalIndexes, Matches, TenantWords, WeighedTerm
from carrel.ports.vectors import TenantVectors, VectorIndexes
from carrel.store import chunks, erasure
from carrel.store.chunks import Loaded, Wanted
from carrel.store.transaction import Database, Transaction

log = structlog.get_logger(__name__)

_LEAST_DEPTH: Final = 100
_MOST_DEPTH: Final = 2_000
_PASSES: Final = 4
_SPARE: Final = 12


class Leg(StrEnum):
    """One of the two ways to search."""

    DENSE = "dense"
    LEXICAL = "lexical"


BOTH: Final = frozenset(Leg)


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
    """What one retrieval must bring. A leg that is not named is not asked, and has no say."""

    question: Question
    generation: GenerationId
    limit: int
    filters: Filters
    versions: Versions = None
    legs: frozenset[Leg] = BOTH


@dataclass(frozen=True, slots=True)
class _Pass:
    """One look at both indexes, and what the database let through of it."""

    found: list[Fused]
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
        async with self._database.transaction(grant) as tx:
            return await _Search(tx, grant, self._vectors.of(grant, tx), self._words.of(grant, tx)).run(need)


class _Search:
    """One retrieval in one transaction: each statement sees what is committed by then.

    The legs take turns. At once they would need a connection each, and two more transactions cost more processor time
    than a leg takes.
    """

    def __init__(self, tx: Transaction, grant: TenantGrant, vectors: TenantVectors, words: TenantWords) -> None:
        self._tx = tx
        self._grant = grant
        self._sources = grant.sources or frozenset()
        self._vectors = vectors
        self._words = words

    async def run(self, need: Need) -> Retrieved:
        need = replace(need, versions=await self._fitting(need))
        depth = max(_LEAST_DEPTH, 2 * need.limit)
        last = await self._pass(need, depth)
        for look in range(1, _PASSES):
            if not _wants_more(last, need.limit, look):
                break
            depth = depth if _is_full(last, need.limit) else min(depth * 4, _MOST_DEPTH)
            last = await self._pass(need, depth)
        return _retrieved(last, need.limit, alarms=await self._alarms(last.loaded.unknown))

    async def _fitting(self, need: Need) -> Versions:
        """A filter that few documents fit must not leave the limit unfilled, so it holds before the ranking."""
        if need.filters is None:
            return None
        return await chunks.fitting(self._tx, self._sources, need.filters)

    async def _pass(self, need: Need, depth: int) -> _Pass:
        dense, matches = await self._nearest(need, depth), await self._matching(need, depth)
        exhausted = len(dense) < depth and len(matches.hits) < depth
        fused = fuse(
            _believable(dense[:depth], -1.0, 1.0),
            _believable(matches.hits[:depth], 0.0, matches.highest),
            dense_share=DENSE_SHARE_OF_A_NAME if need.question.names_something else DENSE_SHARE,
        )
        loaded = await self._load_enough(need, fused)
        return _Pass(_distinct(fused, loaded), loaded, matches, exhausted or depth >= _MOST_DEPTH)

    async def _alarms(self, unknown: frozenset[ChunkId]) -> int:
        """What an index still claims on the last look and the grant does not show is foreign or invented.

        Unless it may have been this tenant's own until a moment ago: text goes first, and its entries when the purge
        is done.
        """
        if not unknown or len(unknown) <= await erasure.chunks_to_purge(self._tx):
            return 0
        log.error("index.unknown_ids", tenant=str(self._grant.tenant), count=len(unknown))
        return len(unknown)

    async def _nearest(self, need: Need, depth: int) -> Sequence[Hit]:
        if Leg.DENSE not in need.legs:
            return ()
        return await self._vectors.nearest(
            need.question.vector, sources=self._sources, limit=depth, versions=need.versions
        )

    async def _matching(self, need: Need, depth: int) -> Matches:
        if Leg.LEXICAL not in need.legs:
            return Matches([], (), 0.0)
        return await self._words.matching(
            need.question.terms, sources=self._sources, limit=depth, versions=need.versions
        )

    async def _load_enough(self, need: Need, fused: Sequence[Fused]) -> Loaded:
        """Mostly the best few are enough. If not, all are loaded anew: one statement sees one state of a document."""
        ids = [found.chunk for found in fused]
        few = 2 * need.limit + _SPARE
        loaded = await self._load(need, ids[:few])
        if len(ids) > few and len(_distinct(fused, loaded)) < need.limit:
            return await self._load(need, ids)
        return loaded

    async def _load(self, need: Need, ids: Sequence[ChunkId]) -> Loaded:
        return await chunks.load(self._tx, Wanted(ids, self._sources, need.generation, need.filters))


def _believable(hits: Sequence[Hit], least: float, most: float) -> list[Hit]:
    """An index that does not keep to its scale must not push others out of the ranking, nor break the arithmetic."""
    return [hit if least <= hit.score <= most else Hit(hit.chunk, _clamped(hit.score, least, most)) for hit in hits]


def _clamped(score: float, least: float, most: float) -> float:
    return least if isnan(score) else min(max(score, least), most)


def _wants_more(last: _Pass, limit: int, looks: int) -> bool:
    """An id that is gone on the second look was a document that was replaced between the index and the text."""
    full = _is_full(last, limit)
    if last.loaded.unknown and (looks == 1 or not full):
        return True
    return not full and not last.exhausted


def _is_full(last: _Pass, limit: int) -> bool:
    return len(last.found) >= limit


def _distinct(fused: Sequence[Fused], loaded: Loaded) -> list[Fused]:
    """What may be shown, in order of score; of twins (equal text) only the best."""
    kept: dict[bytes, Fused] = {}
    for found in fused:
        passage = loaded.passages.get(found.chunk)
        if passage is not None:
            kept.setdefault(passage.twin_of, found)
    return list(kept.values())


def _scored(found: Fused, loaded: Loaded) -> Passage:
    return replace(loaded.passages[found.chunk], score=found.score, dense=found.dense, lexical=found.lexical)


def _retrieved(last: _Pass, limit: int, *, alarms: int) -> Retrieved:
    return Retrieved(
        passages=tuple(_scored(found, last.loaded) for found in last.found[:limit]),
        terms=last.matches.terms,
        highest=last.matches.highest,
        dropped=len(last.loaded.stale) + len(last.loaded.unknown),
        alarms=alarms,
    )
