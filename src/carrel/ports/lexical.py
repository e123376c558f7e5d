"""Matching by words: BM25 with the tenant's own statistics."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from carrel.domain.access import TenantGrant
from carrel.domain.answers import Hit, Versions
from carrel.domain.ids import ChunkId, SourceId, VersionId
from carrel.domain.text import Term


class Analyzer(Protocol):
    """Text as terms. The same text always gives the same ones; `name` changes when they would differ.

    Both leave out stop words; a compound gives its parts too.
    """

    @property
    def name(self) -> str: ...

    def stems(self, text: str) -> list[str]:
        """Every occurrence, in order: what a chunk is indexed by."""
        ...

    def words(self, text: str) -> list[Term]:
        """Each stem once, in order, with the word that it came from: what a question asks for."""
        ...

    def held(self, wanted: frozenset[str], texts: Sequence[str]) -> list[frozenset[str]]:
        """For each text, which of the wanted stems are among its `stems`."""
        ...


@dataclass(frozen=True, slots=True)
class LexicalEntry:
    chunk: ChunkId
    source: SourceId
    version: VersionId
    terms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WeighedTerm:
    """A term of the question, its weight (the tenant's IDF) and in how many of the tenant's chunks it occurs."""

    term: Term
    weight: float
    chunks: int


@dataclass(frozen=True, slots=True)
class Matches:
    """`highest` is the score that a chunk full of every term would approach: the theoretical maximum."""

    hits: list[Hit]
    terms: tuple[WeighedTerm, ...]
    highest: float


class TenantWords(Protocol):
    """One tenant's words. Putting a chunk twice keeps one. Returns ids and scores only, never from outside the grant.

    A chunk without any of the terms is not a hit. Best first, ties by chunk id; sources and versions filter before
    ranking. A term that the statistics have not seen yet weighs what one in one chunk weighs. Raises Unavailable.
    """

    async def put(self, entries: Sequence[LexicalEntry]) -> None: ...

    async def matching(
        self, question: Sequence[Term], *, sources: frozenset[SourceId], limit: int, versions: Versions = None
    ) -> Matches: ...

    async def forget(self, version: VersionId) -> None: ...

    async def weigh(self) -> None:
        """Rebuild the tenant's statistics from all entries that were put and not forgotten, live or not yet."""
        ...


class LexicalIndexes(Protocol):
    """Every tenant's words, one at a time; `reading` as for vectors."""

    def of(self, grant: TenantGrant, reading: object = None) -> TenantWords: ...
