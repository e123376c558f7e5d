"""BM25 in PostgreSQL: the document side weighed once and kept as a sparse vector, the question by the tenant's own IDF.

Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009). The average length is
a constant instead of a moving statistic, so an entry is written once. The score is an exact inner product.

Of a pooled tenant every entry is scored. Of a dedicated one those are scored that hold one of the question's rarest
terms: a chunk that has only the frequent ones is hardly ever among the best.
"""

import asyncio
import math
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from pgvector import SparseVector

from carrel.domain.access import TenantGrant, within
from carrel.domain.answers import Hit, Versions
from carrel.domain.ids import ChunkId, GenerationId, SourceId, TenantId, VersionId
from carrel.domain.text import Term
from carrel.ports.lexical import LexicalEntry, Matches, TenantWords, WeighedTerm
from carrel.store import generations
from carrel.store.generations import LIVE_ID
from carrel.store.transaction import Database, Statement, Transaction
from carrel.store.versions import pin

K1: Final = 1.2
B: Final = 0.75
AVERAGE_LENGTH: Final = 120.0
DIMENSIONS: Final = 2**29 - 1
_MOST_TERMS: Final = 64
_MOST_OF_A_CHUNK: Final = 8_000  # pgvector keeps 16,000 of a sparse vector, and refuses more
_MOST_CANDIDATES: Final = 5_000
_CACHED_BYTES: Final = 64 * 1024 * 1024

_PUT = Statement("select put_lexical(:generation, :chunks, :sources, :versions, :terms)")
_PROFILE = Statement("select put_lexical_profile(:generation, :version, :chunks, :terms)")
_SEARCH = Statement(
    "select chunk_id, score from search_lexical(:generation, :question, :rarest, :allowed, :versions, :most)"
)
_FORGET = Statement("select forget_lexical(:version)")
_PROFILES = Statement("select chunks, terms from lexical_profiles_of(:generation)")
_PUT_STATS = Statement("select put_lexical_stats(:generation, :chunks, :terms, :counts)")
_STATE = Statement(f"select id, lexical_stats_revision(id) as revision from {LIVE_ID} live")
_STATS = Statement("select revision, chunks, terms, counts from lexical_stats_of(:generation)")

Ids = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Statistics:
    """In how many of a tenant's chunks each term occurs; `terms` is sorted."""

    revision: int
    chunks: int
    terms: Ids
    counts: Ids

    def occurrences(self, term: int) -> int:
        """0 for a term that was not seen yet."""
        place = int(np.searchsorted(self.terms, term))
        found = place < len(self.terms) and int(self.terms[place]) == term
        return int(self.counts[place]) if found else 0

    @property
    def size(self) -> int:
        return self.terms.nbytes + self.counts.nbytes


def _empty() -> Statistics:
    none = np.empty(0, np.uint32)
    return Statistics(0, 0, none, none)


class PostgresWords:
    """The lexical leg, the same whichever vector store is chosen."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cache = StatisticsCache(_CACHED_BYTES)

    def of(self, grant: TenantGrant, reading: object = None) -> TenantWords:
        return _TenantWords(self._database, grant, self._cache, reading)


class StatisticsCache:
    """The statistics that were read last, by tenant and generation, within a budget of bytes."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._kept: OrderedDict[tuple[TenantId, GenerationId], Statistics] = OrderedDict()

    def get(self, tenant: TenantId, generation: GenerationId, revision: int) -> Statistics | None:
        kept = self._kept.get((tenant, generation))
        if kept is None or kept.revision != revision:
            return None
        self._kept.move_to_end((tenant, generation))
        return kept

    def put(self, tenant: TenantId, generation: GenerationId, statistics: Statistics) -> None:
        self._kept[tenant, generation] = statistics
        self._kept.move_to_end((tenant, generation))
        while len(self._kept) > 1 and sum(kept.size for kept in self._kept.values()) > self._budget:
            self._kept.popitem(last=False)


class _TenantWords:
    def __init__(self, database: Database, grant: TenantGrant, cache: StatisticsCache, reading: object) -> None:
        self._database = database
        self._grant = grant
        self._cache = cache
        self._reading = reading

    async def put(self, entries: Sequence[LexicalEntry]) -> None:
        entries = list({entry.chunk: entry for entry in entries}.values())
        weights = await asyncio.to_thread(lambda: [document_weights(entry.terms) for entry in entries])
        async with self._database.transaction(self._grant) as tx:
            generation = await _generation(tx)
            unguarded = await tx.value(
                _PUT,
                generation=generation,
                chunks=[entry.chunk for entry in entries],
                sources=[entry.source for entry in entries],
                versions=[entry.version for entry in entries],
                terms=weights,
            )
            if unguarded:
                await pin(tx, {entry.version for entry in entries})
            await _put_profiles(tx, generation, entries)

    async def matching(
        self, question: Sequence[Term], *, sources: frozenset[SourceId], limit: int, versions: Versions = None
    ) -> Matches:
        async with self._database.reading(self._grant, self._reading) as tx:
            state = await tx.row(_STATE)
            if state is None or not question:
                return Matches([], (), 0.0)
            generation = GenerationId(state["id"])
            weighed = weigh(question, await self._statistics(tx, generation, state["revision"]))
            rows = await tx.rows(
                _SEARCH,
                generation=generation,
                question=question_vector(weighed),
                rarest=question_vector(rarest(weighed)),
                allowed=list(within(self._grant, sources)),
                versions=None if versions is None else list(versions),
                most=limit,
            )
        hits = [Hit(ChunkId(row["chunk_id"]), row["score"]) for row in rows]
        return Matches(hits, weighed, sum(term.weight for term in weighed) * (K1 + 1))

    async def forget(self, version: VersionId) -> None:
        async with self._database.transaction(self._grant) as tx:
            await tx.run(_FORGET, version=version)

    async def weigh(self) -> None:
        async with self._database.transaction(self._grant) as tx:
            generation = await _generation(tx)
            profiles = await tx.rows(_PROFILES, generation=generation)
            chunks, terms, counts = await asyncio.to_thread(_sum_up, profiles)
            await tx.run(
                _PUT_STATS, generation=generation, chunks=chunks, terms=terms.tobytes(), counts=counts.tobytes()
            )

    async def _statistics(self, tx: Transaction, generation: GenerationId, revision: int) -> Statistics:
        kept = self._cache.get(self._grant.tenant, generation, revision)
        if kept is not None:
            return kept
        row = await tx.row(_STATS, generation=generation)
        read = _statistics(row) if row else _empty()
        self._cache.put(self._grant.tenant, generation, read)
        return read


async def _generation(tx: Transaction) -> GenerationId:
    generation = await generations.live(tx)
    return generation.id if generation else GenerationId(tx.tenant)


def term_id(stem: str) -> int:
    """1 to DIMENSIONS - 1. Two terms may share an id; among a tenant's vocabulary that is rare and costs little."""
    return crc32(stem.encode()) % (DIMENSIONS - 1) + 1


def document_weights(terms: Sequence[str]) -> SparseVector:
    """The half of BM25 that depends on the chunk alone: saturated and length-normalised term frequencies.

    Of more than 8,000 terms the most frequent are kept.
    """
    norm = K1 * (1 - B + B * len(terms) / AVERAGE_LENGTH)
    frequencies = {term_id(stem): frequency for stem, frequency in Counter(terms).items()}
    kept = sorted(frequencies.items(), key=lambda one: (-one[1], one[0]))[:_MOST_OF_A_CHUNK]
    return SparseVector({term: frequency * (K1 + 1) / (frequency + norm) for term, frequency in kept}, DIMENSIONS)


def weigh(question: Sequence[Term], statistics: Statistics) -> tuple[WeighedTerm, ...]:
    """Each distinct term once, with BM25's IDF (never negative), the rarest kept when there are too many.

    A term that was not seen yet has the weight of one that occurs in one chunk.
    """
    distinct = list({term.stem: term for term in question}.values())
    weighed = []
    for term in distinct:
        seen = statistics.occurrences(term_id(term.stem))
        count = max(seen, 1)
        chunks = max(statistics.chunks, count)
        weight = math.log(1 + (chunks - count + 0.5) / (count + 0.5))
        weighed.append(WeighedTerm(term, weight, seen))
    return tuple(sorted(weighed, key=lambda term: -term.weight)[:_MOST_TERMS])


def question_vector(weighed: Sequence[WeighedTerm]) -> SparseVector:
    return SparseVector({term_id(term.term.stem): term.weight for term in weighed}, DIMENSIONS)


def rarest(weighed: Sequence[WeighedTerm]) -> Sequence[WeighedTerm]:
    """The rarest terms, which occur in some five thousand chunks together; at least one."""
    together = accumulate(max(term.chunks, 1) for term in weighed)
    kept = sum(count <= _MOST_CANDIDATES for count in together)
    return weighed[: max(kept, 1)]


async def _put_profiles(tx: Transaction, generation: GenerationId, entries: Sequence[LexicalEntry]) -> None:
    """Which terms occur in how many chunks of a version, packed: what `weigh` adds up without reading the entries.

    A later put of a version replaces its profile, so a retry counts nothing twice: put all of its entries at once.
    """
    by_version: dict[VersionId, list[LexicalEntry]] = {}
    for entry in entries:
        by_version.setdefault(entry.version, []).append(entry)
    for version, own in by_version.items():
        ids = np.array([term_id(stem) for entry in own for stem in set(entry.terms)], np.uint32)
        await tx.run(_PROFILE, generation=generation, version=version, chunks=len(own), terms=ids.tobytes())


def _sum_up(rows: Sequence[Any]) -> tuple[int, Ids, Ids]:
    chunks = sum(row["chunks"] for row in rows)
    ids = np.frombuffer(b"".join(row["terms"] for row in rows), np.uint32)
    terms, counts = np.unique(ids, return_counts=True)
    return chunks, terms, counts.astype(np.uint32)


def _statistics(row: Any) -> Statistics:
    terms, counts = np.frombuffer(row["terms"], np.uint32), np.frombuffer(row["counts"], np.uint32)
    return Statistics(row["revision"], row["chunks"], terms, counts)
