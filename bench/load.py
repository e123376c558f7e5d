"""Bulk loading: prepared documents of many tenants, written interleaved, as if all tenants had ingested side by side.

It leaves what ingestion leaves (documents, versions, chunks, entries, profiles, statistics), but for the bytes. Rows
are copied by the server's superuser, since COPY is refused under row-level security; tenants, sources, keys,
generations and statistics are made by the product itself. A test compares it with ingestion, row by row.
"""

import random
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import zip_longest
from typing import Any, Final

import asyncpg
from pgvector.asyncpg import register_vector

from bench.prepared import Document
from carrel.adapters.lexical.analyzer import EnglishAnalyzer
from carrel.adapters.lexical.postgres import PostgresWords
from carrel.domain.access import console, for_job
from carrel.domain.ids import GenerationId, SourceId, TenantId, VersionId, chunk_id, document_id, new_id
from carrel.domain.rights import Scope
from carrel.ports.embedder import EmbedderProfile
from carrel.store import generations
from carrel.store.sources import NewSource
from carrel.store.transaction import Database, plain_url
from carrel.tenancy.keys import KeyWish
from carrel.wiring import Office

_BATCH: Final = 2_000
_COLUMNS: Final = {
    "documents": ("tenant_id", "id", "source_id", "key", "title"),
    "document_versions": (
        "tenant_id",
        "id",
        "document_id",
        "source_id",
        "fingerprint",
        "blob_key",
        "media_type",
        "size",
        "state",
        "stage",
        "attempts",
        "chunks",
    ),
    "chunks": (
        "tenant_id",
        "id",
        "version_id",
        "document_id",
        "source_id",
        "generation_id",
        "ordinal",
        "text",
        "text_hash",
        "heading_path",
        "page",
        "line",
        "char_start",
        "char_end",
    ),
    "dense_entries": ("tenant_id", "chunk_id", "generation_id", "source_id", "version_id", "embedding"),
    "lexical_entries": ("tenant_id", "chunk_id", "generation_id", "source_id", "version_id", "terms"),
    "lexical_profiles": ("tenant_id", "version_id", "generation_id", "chunks", "terms"),
}
_MAKE_LIVE: Final = """
    update documents d set newest_version_id = v.id, live_version_id = v.id from document_versions v
    where v.tenant_id = d.tenant_id and v.document_id = d.id and d.live_version_id is null
      and (d.tenant_id, d.id) in (select * from unnest($1::uuid[], $2::uuid[]))
"""


@dataclass(frozen=True, slots=True)
class Room:
    """A tenant that can be loaded and asked: its one source, and a key (in clear) that may do whatever a key may."""

    tenant: TenantId
    slug: str
    source: SourceId
    generation: GenerationId
    key: str


@dataclass(frozen=True, slots=True)
class Loaded:
    documents: int
    chunks: int


async def furnish(office: Office, database: Database, profile: EmbedderProfile, *, tenants: int) -> list[Room]:
    """New tenants, through the product's own doors."""
    return [await _room(office, database, profile, number) for number in range(tenants)]


async def _room(office: Office, database: Database, profile: EmbedderProfile, number: int) -> Room:
    slug = f"bench-{number}-{uuid.uuid4().hex[:8]}"
    tenant = await office.tenants.create(console(None), f"Bench {number}", slug=slug)
    source = await office.sources.create(console(tenant.id), NewSource("Library"))
    key = await office.keys.create(console(tenant.id), KeyWish("bench", frozenset(Scope)))
    async with database.transaction(for_job(tenant.id, None)) as tx:
        generation = await generations.live_or_first(
            tx, embedder=profile.name, dimension=profile.dimension, analyzer=EnglishAnalyzer.name
        )
    return Room(tenant.id, slug, source.id, generation.id, key.clear)


def shares(documents: Sequence[Document], *, tenants: int, chunks: int) -> list[list[Document]]:
    """To each tenant its own random choice of the documents, with exactly so many chunks. Raises ValueError."""
    return [_share(documents, chunks, random.Random(number)) for number in range(tenants)]  # noqa: S311 - repeatable


def _share(documents: Sequence[Document], chunks: int, chance: random.Random) -> list[Document]:
    chosen, left = [], chunks
    for document in chance.sample(documents, len(documents)):
        if len(document.chunks) <= left:
            chosen.append(document)
            left -= len(document.chunks)
    if left:
        raise ValueError(f"These documents do not give {chunks:,} chunks: {left:,} are missing.")
    return chosen


def interleaved(rooms: Sequence[Room], shares: Sequence[Sequence[Document]]) -> Iterator[tuple[Room, Document]]:
    """One document of each tenant in turn, so that no tenant's rows lie together."""
    for row in zip_longest(*shares):
        for room, document in zip(rooms, row, strict=True):
            if document is not None:
                yield room, document


async def load(url: str, database: Database, work: Iterable[tuple[Room, Document]]) -> Loaded:
    """`url` is the superuser's. At the end the tables are as vacuum leaves them, and the statistics are weighed."""
    documents = chunks = 0
    rooms: dict[TenantId, Room] = {}
    async with _copier(url) as connection:
        for batch in _batches(work):
            await _write(connection, batch)
            documents, chunks = documents + len(batch), chunks + sum(len(one.chunks) for _, one in batch)
            rooms.update({room.tenant: room for room, _ in batch})
        words = PostgresWords(database)
        for tenant in rooms:
            await words.of(for_job(tenant, None)).weigh()
        await connection.execute("vacuum (analyze)")
        await connection.execute("checkpoint")
    return Loaded(documents, chunks)


@asynccontextmanager
async def _copier(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(plain_url(url), server_settings={"search_path": "carrel, public"})
    try:
        await register_vector(connection)
        yield connection
    finally:
        await connection.close()


def _batches(work: Iterable[tuple[Room, Document]]) -> Iterator[list[tuple[Room, Document]]]:
    batch: list[tuple[Room, Document]] = []
    chunks = 0
    for pair in work:
        batch.append(pair)
        chunks += len(pair[1].chunks)
        if chunks >= _BATCH:
            yield batch
            batch, chunks = [], 0
    if batch:
        yield batch


async def _write(connection: "asyncpg.Connection[asyncpg.Record]", batch: Sequence[tuple[Room, Document]]) -> None:
    rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _COLUMNS}
    for room, document in batch:
        _add(rows, room, document)
    async with connection.transaction():
        for table, columns in _COLUMNS.items():
            await connection.copy_records_to_table(
                table, schema_name="carrel", columns=columns, records=rows[table], timeout=300
            )
        tenants, ids = zip(*(row[:2] for row in rows["documents"]), strict=True)
        await connection.execute(_MAKE_LIVE, list(tenants), list(ids))


def _add(rows: dict[str, list[tuple[Any, ...]]], room: Room, document: Document) -> None:
    tenant, source, generation = room.tenant, room.source, room.generation
    text, own, version = document.text, document_id(source, document.text.key), VersionId(new_id())
    rows["documents"].append((tenant, own, source, text.key, document.title))
    kept = (sha256(text.content).digest(), f"{tenant}/{uuid.uuid4()}", document.media_type, len(text.content))
    count = len(document.chunks)
    rows["document_versions"].append((tenant, version, own, source, *kept, "ready", "commit", 1, count))
    rows["lexical_profiles"].append((tenant, version, generation, count, document.profile))
    for piece, half, weights in zip(document.chunks, document.halves, document.weights, strict=True):
        chunk = chunk_id(version, generation, piece.ordinal)
        digest = sha256(piece.text.encode()).digest()[:16]
        where = (list(piece.heading_path), piece.page, piece.line, piece.start, piece.end)
        place = (piece.ordinal, piece.text, digest, *where)
        rows["chunks"].append((tenant, chunk, version, own, source, generation, *place))
        rows["dense_entries"].append((tenant, chunk, generation, source, version, half))
        rows["lexical_entries"].append((tenant, chunk, generation, source, version, weights))
