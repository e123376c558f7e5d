"""Vectors in PostgreSQL: one tenant's nearest halfvec entries, by definer functions.

Exact for a pooled tenant. A dedicated one has tables of its own, where many candidates are walked by HNSW; which tables
are read and written is the functions' business (store/layouts.py).
"""

from collections.abc import Sequence

import numpy as np
from pgvector import HalfVector

from carrel.domain.access import TenantGrant, within
from carrel.domain.answers import Hit, Versions
from carrel.domain.ids import ChunkId, GenerationId, SourceId, VersionId
from carrel.ports.embedder import Vector
from carrel.ports.vectors import DenseEntry, TenantVectors, Twin
from carrel.store import generations
from carrel.store.generations import LIVE_ID
from carrel.store.transaction import Database, Statement, Transaction
from carrel.store.versions import pin

_PUT = Statement("select put_dense(:generation, :chunks, :sources, :versions, :embeddings)")
_COPY = Statement("select copied, unguarded from copy_dense(:generation, :old, :new, :source, :version)")
_SEARCH = Statement(f"select chunk_id, score from search_dense({LIVE_ID}, :question, :allowed, :versions, :most)")
_FORGET = Statement("select forget_dense(:version)")
_COUNT = Statement(f"select count_dense({LIVE_ID})")


class PgvectorIndexes:
    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, grant: TenantGrant, reading: object = None) -> TenantVectors:
        return _TenantVectors(self._database, grant, reading)


class _TenantVectors:
    def __init__(self, database: Database, grant: TenantGrant, reading: object) -> None:
        self._database = database
        self._grant = grant
        self._reading = reading

    async def put(self, entries: Sequence[DenseEntry]) -> None:
        entries = list({entry.chunk: entry for entry in entries}.values())
        async with self._database.transaction(self._grant) as tx:
            unguarded = await tx.value(
                _PUT,
                generation=await _generation(tx),
                chunks=[entry.chunk for entry in entries],
                sources=[entry.source for entry in entries],
                versions=[entry.version for entry in entries],
                embeddings=[_half(entry.vector) for entry in entries],
            )
            if unguarded:
                await pin(tx, {entry.version for entry in entries})

    async def copy(self, twins: Sequence[Twin], *, source: SourceId, version: VersionId) -> int:
        async with self._database.transaction(self._grant) as tx:
            row = await tx.row(
                _COPY,
                generation=await _generation(tx),
                old=[twin.old for twin in twins],
                new=[twin.new for twin in twins],
                source=source,
                version=version,
            )
            if row is None or not row["copied"]:
                return 0
            if row["unguarded"]:
                await pin(tx, {version})
            return int(row["copied"])

    async def nearest(
        self, vector: Vector, *, sources: frozenset[SourceId], limit: int, versions: Versions = None
    ) -> list[Hit]:
        async with self._database.reading(self._grant, self._reading) as tx:
            rows = await tx.rows(
                _SEARCH,
                question=_half(vector),
                allowed=list(within(self._grant, sources)),
                versions=None if versions is None else list(versions),
                most=limit,
            )
        return [Hit(ChunkId(row["chunk_id"]), row["score"]) for row in rows]

    async def forget(self, version: VersionId) -> None:
        async with self._database.transaction(self._grant) as tx:
            await tx.run(_FORGET, version=version)

    async def count(self) -> int:
        async with self._database.transaction(self._grant) as tx:
            return int(await tx.value(_COUNT))


def _half(vector: Vector) -> HalfVector:
    return HalfVector(vector.astype(np.float16))


async def _generation(tx: Transaction) -> GenerationId:
    generation = await generations.live(tx)
    return generation.id if generation else GenerationId(tx.tenant)
