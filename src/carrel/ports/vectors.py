"""Nearest neighbours by vector."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from carrel.domain.access import TenantGrant
from carrel.domain.answers import Hit, Versions
from carrel.domain.ids import ChunkId, SourceId, VersionId
from carrel.ports.embedder import Vector


@dataclass(frozen=True, slots=True)
class DenseEntry:
    chunk: ChunkId
    source: SourceId
    version: VersionId
    vector: Vector


@dataclass(frozen=True, slots=True)
class Twin:
    """A chunk whose text equals that of another chunk of the same tenant."""

    old: ChunkId
    new: ChunkId


class TenantVectors(Protocol):
    """One tenant's vectors. Putting a chunk twice keeps one. Returns ids and scores only, never from outside the grant.

    Scores are inner products of unit vectors (-1 to 1), best first, ties by chunk id. Sources and versions filter
    before ranking, so what lies outside never uses up the limit. Among very many candidates an index may be
    approximate: it may miss some of the best, but invents none. Forgetting what is not there is no error. Raises
    Unavailable.
    """

    async def put(self, entries: Sequence[DenseEntry]) -> None: ...

    async def copy(self, twins: Sequence[Twin], *, source: SourceId, version: VersionId) -> int:
        """Give each new chunk the old one's vector. How many were copied: those that are not there are not."""
        ...

    async def nearest(
        self, vector: Vector, *, sources: frozenset[SourceId], limit: int, versions: Versions = None
    ) -> list[Hit]: ...

    async def forget(self, version: VersionId) -> None: ...

    async def count(self) -> int: ...


class VectorIndexes(Protocol):
    """Every tenant's vectors, one at a time: what `of` returns is bound to the grant's tenant.

    `reading` is an open transaction of the system of record under the same grant. Indexes that lie there read in it
    instead of opening one; to any others it is nothing.
    """

    def of(self, grant: TenantGrant, reading: object = None) -> TenantVectors: ...
