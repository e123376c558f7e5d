"""Indexing: the chunks beside the live version's, then their entries in both indexes. Repeatable until the commit."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from carrel.domain.access import TenantGrant
from carrel.domain.ids import ChunkId
from carrel.domain.jobs import Claim
from carrel.domain.library import Generation, Version
from carrel.domain.text import Chunk
from carrel.ingest.embed import context_of
from carrel.ports.embedder import Vector
from carrel.ports.lexical import Analyzer, LexicalEntry, LexicalIndexes
from carrel.ports.vectors import DenseEntry, VectorIndexes
from carrel.store import chunks, jobs
from carrel.store.transaction import Database

_BATCH = 256


@dataclass(frozen=True, slots=True)
class Prepared:
    """A version's chunks under their ids. `readings` are hashes of what the embedder reads of each, where known."""

    version: Version
    generation: Generation
    title: str
    chunks: Mapping[ChunkId, Chunk]
    readings: Mapping[ChunkId, bytes]


class Indexer:
    def __init__(
        self, database: Database, vectors: VectorIndexes, words: LexicalIndexes, *, analyzer: Analyzer
    ) -> None:
        self._database = database
        self._vectors = vectors
        self._words = words
        self._analyzer = analyzer

    async def keep(self, grant: TenantGrant, claim: Claim, prepared: Prepared) -> None:
        """Write the text; no reader sees it before the commit. Raises LeaseLost."""
        async with self._database.transaction(grant, timeout=300) as tx:
            await jobs.hold(tx, claim)
            generation = prepared.generation.id
            await chunks.write(tx, prepared.version, generation, prepared.chunks, readings=prepared.readings)

    async def dense(self, grant: TenantGrant, prepared: Prepared, vectors: Mapping[ChunkId, Vector]) -> None:
        entries = [
            DenseEntry(chunk, prepared.version.source, prepared.version.id, vector) for chunk, vector in vectors.items()
        ]
        for first in range(0, len(entries), _BATCH):
            await self._vectors.of(grant).put(entries[first : first + _BATCH])

    async def lexical(self, grant: TenantGrant, prepared: Prepared) -> None:
        entries = await asyncio.to_thread(self._entries, prepared)
        await self._words.of(grant).put(entries)

    def _entries(self, prepared: Prepared) -> list[LexicalEntry]:
        return [self._entry(prepared, identifier, chunk) for identifier, chunk in prepared.chunks.items()]

    def _entry(self, prepared: Prepared, identifier: ChunkId, chunk: Chunk) -> LexicalEntry:
        """Title, file name and headings count as words of the chunk."""
        text = f"{context_of(prepared.title, chunk.heading_path)}\n{prepared.version.key}\n{chunk.text}"
        terms = tuple(self._analyzer.stems(text))
        return LexicalEntry(identifier, prepared.version.source, prepared.version.id, terms)
