"""Vectors in memory, exact: the reference that the other adapters are compared with."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from carrel.domain.access import TenantGrant, within
from carrel.domain.answers import Hit, Versions
from carrel.domain.ids import ChunkId, SourceId, TenantId, VersionId
from carrel.ports.embedder import Vector
from carrel.ports.vectors import DenseEntry, TenantVectors, Twin


class MemoryIndexes:
    """Lives and dies with its process; each tenant has a dictionary of its own."""

    def __init__(self) -> None:
        self._tenants: dict[TenantId, dict[ChunkId, DenseEntry]] = {}

    def of(self, grant: TenantGrant, reading: object = None) -> TenantVectors:  # noqa: ARG002 - not in a database
        return _TenantVectors(self._tenants.setdefault(grant.tenant, {}), grant)


class _TenantVectors:
    def __init__(self, entries: dict[ChunkId, DenseEntry], grant: TenantGrant) -> None:
        self._entries = entries
        self._grant = grant

    async def put(self, entries: Sequence[DenseEntry]) -> None:
        self._entries.update({entry.chunk: entry for entry in entries})

    async def copy(self, twins: Sequence[Twin], *, source: SourceId, version: VersionId) -> int:
        found = [
            replace(self._entries[twin.old], chunk=twin.new, source=source, version=version)
            for twin in twins
            if twin.old in self._entries
        ]
        await self.put(found)
        return len(found)

    async def nearest(
        self, vector: Vector, *, sources: frozenset[SourceId], limit: int, versions: Versions = None
    ) -> list[Hit]:
        readable = within(self._grant, sources)
        allowed = [
            entry
            for entry in self._entries.values()
            if entry.source in readable and (versions is None or entry.version in versions)
        ]
        if not allowed:
            return []
        scores = np.stack([entry.vector for entry in allowed]) @ vector
        hits = [Hit(entry.chunk, float(score)) for entry, score in zip(allowed, scores, strict=True)]
        return sorted(hits, key=lambda hit: (-hit.score, hit.chunk))[:limit]

    async def forget(self, version: VersionId) -> None:
        for chunk in [chunk for chunk, entry in self._entries.items() if entry.version == version]:
            del self._entries[chunk]

    async def count(self) -> int:
        return len(self._entries)
