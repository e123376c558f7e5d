"""Reusing: a chunk that reads as one that is live in the same source has its vector, and is not embedded again.

Never beyond the source: who may read only one could tell by the time that a text takes whether another has it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from carrel.domain.access import TenantGrant
from carrel.domain.ids import ChunkId
from carrel.domain.library import Version
from carrel.domain.text import Chunk
from carrel.ingest.embed import embed
from carrel.ingest.index import Prepared
from carrel.ports.embedder import Embedder, Vector
from carrel.ports.vectors import TenantVectors, Twin, VectorIndexes
from carrel.store import chunks
from carrel.store.transaction import Database

_AT_ONCE: Final = 256


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors that were made, and chunks whose vectors are in the index already, under other ids."""

    made: Mapping[ChunkId, Vector]
    known: tuple[Twin, ...]


class Reuse:
    def __init__(self, database: Database, embedder: Embedder, vectors: VectorIndexes) -> None:
        self._database = database
        self._embedder = embedder
        self._vectors = vectors

    async def embed(
        self, grant: TenantGrant, prepared: Prepared, *, advanced: Callable[[float], None] = lambda _: None
    ) -> Embedded:
        """The embedder is asked for what is new; `advanced` hears what share is done. Raises Unavailable."""
        source, generation = prepared.version.source, prepared.generation.id
        async with self._database.transaction(grant) as tx:
            old = await chunks.known(tx, source, generation, list(set(prepared.readings.values())))
        known = tuple(Twin(old[hashed], new) for new, hashed in prepared.readings.items() if hashed in old)
        fresh = {new: chunk for new, chunk in prepared.chunks.items() if prepared.readings[new] not in old}
        return Embedded(await self._made(grant, prepared, fresh, advanced=advanced), known)

    async def copy(self, grant: TenantGrant, prepared: Prepared, embedded: Embedded) -> Mapping[ChunkId, Vector]:
        """Give the chunks that were kept the vectors that are known. What is still to be put into the index.

        If a known one went meanwhile, all of them are made after all. Raises Unavailable.
        """
        if not embedded.known:
            return embedded.made
        version = prepared.version
        copied = await copy_all(self._vectors.of(grant), embedded.known, version)
        if copied == len(embedded.known):
            return embedded.made
        missing = {twin.new: prepared.chunks[twin.new] for twin in embedded.known}
        return {**embedded.made, **await self._made(grant, prepared, missing)}

    async def _made(
        self,
        grant: TenantGrant,
        prepared: Prepared,
        wanted: Mapping[ChunkId, Chunk],
        *,
        advanced: Callable[[float], None] = lambda _: None,
    ) -> Mapping[ChunkId, Vector]:
        if not wanted:
            return {}
        chunks = list(wanted.values())
        vectors = await embed(self._embedder, prepared.title, chunks, flow=grant.tenant, advanced=advanced)
        return dict(zip(wanted, vectors, strict=True))


async def copy_all(index: TenantVectors, pairs: Sequence[Twin], version: Version) -> int:
    """Some at a time: in a large tenant each one is put into its graph, and no statement takes long. How many."""
    copied = 0
    for first in range(0, len(pairs), _AT_ONCE):
        some = pairs[first : first + _AT_ONCE]
        copied += await index.copy(some, source=version.source, version=version.id)
    return copied
