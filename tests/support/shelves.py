"""A tenant with sources and chunks that exist in the store, so that any index may hold entries for them."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from carrel.domain.access import Principal, PrincipalKind, TenantGrant, enter, read_scope
from carrel.domain.answers import Hit
from carrel.domain.ids import ChunkId, GenerationId, SourceId, TenantId, UserId, VersionId, new_id
from carrel.domain.layout import LayoutState
from carrel.domain.rights import Permission, Scope
from carrel.ports.embedder import Vector
from carrel.ports.lexical import LexicalEntry
from carrel.ports.vectors import DenseEntry, TenantVectors, VectorIndexes
from carrel.store import layouts
from carrel.store.transaction import Database, Transaction
from support.raw import Raw

DIMENSION = 384


@dataclass(frozen=True)
class Place:
    """One version of one document in one source."""

    source: SourceId
    version: VersionId


@dataclass
class Shelf:
    """A tenant. `superuser` makes the rows that the entries stand for."""

    superuser: Raw
    tenant: TenantId = field(default_factory=lambda: TenantId(new_id()))
    generation: GenerationId = field(default_factory=lambda: GenerationId(new_id()))

    @property
    def principal(self) -> Principal:
        return Principal(PrincipalKind.API_KEY, self.tenant, UserId(uuid.uuid4()), scopes=frozenset(Scope))

    @property
    def grant(self) -> TenantGrant:
        return enter(self.principal, Permission.INGEST)

    def grant_of(self, *places: Place) -> TenantGrant:
        """A grant of these places' sources and no other."""
        return read_scope(self.grant, {place.source for place in places}).grants[0]

    async def place(self, beside: Place | None = None) -> Place:
        """A new version, in a source of its own or beside another."""
        place = Place(beside.source if beside else SourceId(new_id()), VersionId(new_id()))
        document = new_id()
        if beside is None:
            await self.superuser.execute(
                "insert into sources (tenant_id, id, name, kind, visibility, duplicates, chunk_size, chunk_overlap)"
                " values ($1, $2, $2::uuid::text, 'upload', 'tenant', 'allow', 240, 32)",
                self.tenant,
                place.source,
            )
        await self.superuser.execute(
            "insert into documents (tenant_id, id, source_id, key, title) values ($1, $2, $3, $2::uuid::text, 'title')",
            self.tenant,
            document,
            place.source,
        )
        await self.superuser.execute(
            "insert into document_versions (tenant_id, id, document_id, source_id, fingerprint, blob_key, media_type,"
            " size, state, stage) values ($1, $2, $3, $4, '', '', 'text/plain', 1, 'ready', 'commit')",
            self.tenant,
            place.version,
            document,
            place.source,
        )
        return place

    async def chunks(self, place: Place, count: int) -> list[ChunkId]:
        made = [ChunkId(new_id()) for _ in range(count)]
        await self.superuser.execute(
            "insert into chunks (tenant_id, id, version_id, document_id, source_id, generation_id, ordinal, text,"
            " text_hash, heading_path, char_start, char_end)"
            " select v.tenant_id, c.id, v.id, v.document_id, v.source_id, $3, c.n, '', '', '{}', 0, 1"
            " from document_versions v, unnest($4::uuid[]) with ordinality as c (id, n)"
            " where v.tenant_id = $1 and v.id = $2",
            self.tenant,
            place.version,
            self.generation,
            made,
        )
        return made

    async def dense(self, place: Place, *vectors: Vector) -> list[DenseEntry]:
        chunks = await self.chunks(place, len(vectors))
        return [
            DenseEntry(chunk, place.source, place.version, vector)
            for chunk, vector in zip(chunks, vectors, strict=True)
        ]

    async def lexical(self, place: Place, *texts: str) -> list[LexicalEntry]:
        """Each word of a text is a term as it stands."""
        chunks = await self.chunks(place, len(texts))
        return [
            LexicalEntry(chunk, place.source, place.version, tuple(text.split()))
            for chunk, text in zip(chunks, texts, strict=True)
        ]


async def a_shelf(
    superuser: Raw,
    database: Database | None = None,
    layout: LayoutState = LayoutState.POOLED,
    *,
    dimension: int = DIMENSION,
) -> Shelf:
    """Another layout than the pooled one is reached through `database`."""
    shelf = Shelf(superuser)
    await superuser.execute(
        "insert into tenants (id, slug, name) values ($1, $2, 'Shelf')", shelf.tenant, f"shelf-{shelf.tenant}"
    )
    await superuser.execute(
        "insert into generations (tenant_id, id, embedder, dimension, analyzer, state)"
        " values ($1, $2, 'test', $3, 'test', 'live')",
        shelf.tenant,
        shelf.generation,
        dimension,
    )
    if database is not None and layout is not LayoutState.POOLED:
        async with database.transaction(shelf.grant) as tx:
            await _lay_out(tx, layout)
    return shelf


async def _lay_out(tx: Transaction, layout: LayoutState) -> None:
    if layout is LayoutState.PROMOTING:
        await layouts.open_own(tx)
        await layouts.index_own(tx)
        await layouts.turn(tx, LayoutState.FILLING, layout)
        return
    await layouts.begin_dedicated(tx)
    if layout is LayoutState.DEMOTING:
        await layouts.turn(tx, LayoutState.DEDICATED, layout)


def pointing(*parts: float) -> Vector:
    """A unit vector whose first components are these; exact in half precision where the parts are."""
    vector = np.zeros(DIMENSION, np.float32)
    vector[: len(parts)] = parts
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def anywhere(random: np.random.Generator, count: int) -> list[Vector]:
    vectors = random.standard_normal((count, DIMENSION)).astype(np.float32)
    return list(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


@dataclass(frozen=True)
class Widened:
    """An index of longer vectors that is used as one of DIMENSION: zeros at the end change no inner product."""

    real: VectorIndexes
    dimension: int

    def of(self, grant: TenantGrant, reading: object = None) -> TenantVectors:
        index = self.real.of(grant, reading)
        put, nearest = index.put, index.nearest

        async def put_wide(entries: Sequence[DenseEntry]) -> None:
            await put([replace(entry, vector=self._wide(entry.vector)) for entry in entries])

        async def nearest_wide(vector: Vector, **how: Any) -> list[Hit]:
            return await nearest(self._wide(vector), **how)

        index.put, index.nearest = put_wide, nearest_wide  # type: ignore[method-assign]
        return index

    def _wide(self, vector: Vector) -> Vector:
        return np.pad(vector, (0, self.dimension - len(vector)))
