"""Indexes that stand behind the ports and do not keep their promises, or write down what they were asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from carrel.domain.access import TenantGrant
from carrel.domain.answers import Hit, Versions
from carrel.domain.ids import ChunkId, SourceId, VersionId
from carrel.domain.text import Term
from carrel.ports.embedder import Vector
from carrel.ports.lexical import LexicalEntry, LexicalIndexes, Matches, TenantWords
from carrel.ports.vectors import DenseEntry, TenantVectors, Twin, VectorIndexes
from carrel.wiring import Application, assemble
from support.stand import Stand

Lie = Callable[[list[Hit], int], list[Hit]]
"""From what an honest index says, and the limit, to what this one says."""


@dataclass(frozen=True)
class Asked:
    """What an index was asked: for which grant, and for which sources."""

    grant: TenantGrant
    sources: frozenset[SourceId]
    limit: int


@dataclass
class Liar:
    """Both legs lie in the same way; `asked` is what they were asked."""

    vectors: VectorIndexes
    words: LexicalIndexes
    lie: Lie = lambda honest, _: honest
    asked: list[Asked] = field(default_factory=list)


class LyingVectors:
    def __init__(self, liar: Liar) -> None:
        self._liar = liar

    def of(self, grant: TenantGrant, reading: object = None) -> TenantVectors:
        return _Vectors(self._liar, grant, reading)


class LyingWords:
    def __init__(self, liar: Liar) -> None:
        self._liar = liar

    def of(self, grant: TenantGrant, reading: object = None) -> TenantWords:
        return _Words(self._liar, grant, reading)


class _Vectors:
    def __init__(self, liar: Liar, grant: TenantGrant, reading: object) -> None:
        self._liar, self._grant = liar, grant
        self._honest = liar.vectors.of(grant, reading)

    async def nearest(
        self, vector: Vector, *, sources: frozenset[SourceId], limit: int, versions: Versions = None
    ) -> list[Hit]:
        self._liar.asked.append(Asked(self._grant, sources, limit))
        return self._liar.lie(
            await self._honest.nearest(vector, sources=sources, limit=limit, versions=versions), limit
        )

    async def put(self, entries: Sequence[DenseEntry]) -> None:
        await self._honest.put(entries)

    async def copy(self, twins: Sequence[Twin], *, source: SourceId, version: VersionId) -> int:
        return await self._honest.copy(twins, source=source, version=version)

    async def forget(self, version: VersionId) -> None:
        await self._honest.forget(version)

    async def count(self) -> int:
        return await self._honest.count()


class _Words:
    def __init__(self, liar: Liar, grant: TenantGrant, reading: object) -> None:
        self._liar, self._grant = liar, grant
        self._honest = liar.words.of(grant, reading)

    async def matching(
        self, question: Sequence[Term], *, sources: frozenset[SourceId], limit: int, versions: Versions = None
    ) -> Matches:
        self._liar.asked.append(Asked(self._grant, sources, limit))
        honest = await self._honest.matching(question, sources=sources, limit=limit, versions=versions)
        return replace(honest, hits=self._liar.lie(honest.hits, limit))

    async def put(self, entries: Sequence[LexicalEntry]) -> None:
        await self._honest.put(entries)

    async def forget(self, version: VersionId) -> None:
        await self._honest.forget(version)

    async def weigh(self) -> None:
        await self._honest.weigh()


def behind_a_liar(carrel: Stand, *, dense: bool = True, lexical: bool = True) -> tuple[Application, Liar]:
    """The same application and database, with one or both indexes lying."""
    parts = carrel.parts
    liar = Liar(parts.vectors, parts.words)
    lying = replace(
        parts,
        vectors=LyingVectors(liar) if dense else parts.vectors,
        words=LyingWords(liar) if lexical else parts.words,
    )
    return assemble(lying), liar


def first(foreign: Sequence[ChunkId], score: float = 1.0) -> Lie:
    """These before everything else, with the best score there is, within the limit."""
    return lambda honest, limit: [*(Hit(chunk, score) for chunk in foreign), *honest][:limit]


def only(foreign: Sequence[ChunkId], score: float = 1.0) -> Lie:
    return lambda _, limit: [Hit(chunk, score) for chunk in foreign][:limit]
