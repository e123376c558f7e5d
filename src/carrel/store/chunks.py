"""Chunks: the text itself. It leaves only by id and scope together, in one statement, while its version is live."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from carrel.domain.answers import Passage
from carrel.domain.filters import Filters
from carrel.domain.ids import ChunkId, DocumentId, GenerationId, SourceId, VersionId
from carrel.domain.library import Version
from carrel.domain.text import Chunk
from carrel.store.filters import filtered
from carrel.store.transaction import Statement, Transaction

_LOOKED_UP: Final = 1_000

_CLEAR = Statement("delete from chunks where tenant_id = :tenant and version_id = any (:versions)")
_ADD = Statement("""
    insert into chunks (tenant_id, id, version_id, document_id, source_id, owner_id, generation_id, ordinal, text,
                        text_hash, heading_path, page, line, char_start, char_end, reading_hash)
    values (:tenant, :id, :version, :document, :source, :owner, :generation, :ordinal, :text,
            substring(sha256(convert_to(:text, 'UTF8')), 1, 16), :heading_path, :page, :line, :start, :end, :reading)
""")
# Of each hash one: a reading that stands in every page of a source would be found as often. Of live versions, since
# those have all their vectors.
_KNOWN = Statement("""
    select wanted.hash, found.id from unnest(:hashes::bytea[]) as wanted (hash)
    cross join lateral (
        select c.id from chunks c
        join documents d on d.tenant_id = :tenant and d.id = c.document_id and d.live_version_id = c.version_id
        where c.tenant_id = :tenant and c.source_id = :source and c.generation_id = :generation
          and c.reading_hash = wanted.hash and d.deleted_at is null
        limit 1
    ) found
""")
_LOAD = """
    select c.id, c.document_id, c.version_id, c.source_id, c.ordinal, c.text, c.text_hash, c.heading_path, c.page,
           c.line,
           d.title, d.key,
           d.live_version_id = c.version_id and d.deleted_at is null and c.generation_id = :generation as live,
           c.source_id = any (:sources) as allowed, ({}) as fitting
    from chunks c
    join documents d on d.tenant_id = c.tenant_id and d.id = c.document_id
    where c.tenant_id = :tenant and c.id = any (:ids)
"""
_FITTING_VERSIONS = """
    select d.live_version_id from documents d
    where d.tenant_id = :tenant and d.source_id = any (:sources) and d.deleted_at is null
      and d.live_version_id is not null and ({})
"""
_STORED = Statement("""
    select ordinal, text, heading_path, page, line, char_start, char_end, id, reading_hash from chunks
    where tenant_id = :tenant and version_id = :version and generation_id = :generation order by ordinal
""")
_LENGTH = Statement("""
    select coalesce(max(char_end), 0) from chunks
    where tenant_id = :tenant and version_id = :version and generation_id = :generation
""")
_FORGET_OWN = Statement("select forget_own(:versions)")
_COUNT = Statement("select count(*) from chunks where tenant_id = :tenant and version_id = any (:versions)")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of the ids that an index returned.

    `stale` are this tenant's own chunks that must not be shown now (an old version, a deleted document, a source
    outside the scope, a filter that is not true); `unknown` are ids that the tenant does not have.
    """

    passages: Mapping[ChunkId, Passage]
    stale: frozenset[ChunkId]
    unknown: frozenset[ChunkId]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which chunks, under which scope: the last word before text is shown."""

    ids: Sequence[ChunkId]
    sources: frozenset[SourceId]
    generation: GenerationId
    filters: Filters


async def load(tx: Transaction, wanted: Wanted) -> Loaded:
    statement, values = filtered(_LOAD, wanted.filters)
    rows = await tx.rows(
        statement,
        ids=list(wanted.ids),
        sources=list(wanted.sources),
        generation=wanted.generation,
        wanted=values,
    )
    shown = {row["id"]: _passage(tx, row) for row in rows if row["live"] and row["allowed"] and row["fitting"]}
    known = frozenset(ChunkId(row["id"]) for row in rows)
    return Loaded(shown, known - shown.keys(), frozenset(wanted.ids) - known)


async def fitting(tx: Transaction, sources: frozenset[SourceId], filters: Filters) -> frozenset[VersionId]:
    """The live versions of documents whose attributes fit: what a filtered search is limited to before it ranks."""
    statement, values = filtered(_FITTING_VERSIONS, filters)
    rows = await tx.rows(statement, sources=list(sources), wanted=values)
    return frozenset(VersionId(row["live_version_id"]) for row in rows)


@dataclass(frozen=True, slots=True)
class StoredChunk:
    id: ChunkId
    chunk: Chunk
    reading: bytes | None


async def known(
    tx: Transaction, source: SourceId, generation: GenerationId, hashes: Sequence[bytes]
) -> dict[bytes, ChunkId]:
    """For each of these readings that is live in the source, a chunk that has its vector."""
    found: dict[bytes, ChunkId] = {}
    for first in range(0, len(hashes), _LOOKED_UP):
        some = list(hashes[first : first + _LOOKED_UP])
        rows = await tx.rows(_KNOWN, source=source, generation=generation, hashes=some)
        found.update({row["hash"]: ChunkId(row["id"]) for row in rows})
    return found


async def write(
    tx: Transaction,
    version: Version,
    generation: GenerationId,
    new: Mapping[ChunkId, Chunk],
    *,
    readings: Mapping[ChunkId, bytes],
) -> None:
    """Beside the live version's, and instead of what an earlier try left."""
    await clear(tx, [version.id])
    await tx.run_many(
        _ADD,
        [
            {
                "id": identifier,
                "version": version.id,
                "document": version.document,
                "source": version.source,
                "owner": version.owner,
                "generation": generation,
                "ordinal": chunk.ordinal,
                "text": chunk.text,
                "heading_path": list(chunk.heading_path),
                "page": chunk.page,
                "line": chunk.line,
                "start": chunk.start,
                "end": chunk.end,
                "reading": readings.get(identifier),
            }
            for identifier, chunk in new.items()
        ],
    )


async def clear(tx: Transaction, versions: Sequence[VersionId]) -> int:
    """The chunks of these versions, and with them their entries in PostgreSQL's index tables.

    Those of pooled tables go by foreign key. A dedicated tenant's own tables have none.
    """
    cleared = await tx.run(_CLEAR, versions=list(versions))
    await tx.run(_FORGET_OWN, versions=list(versions))
    return cleared


async def stored(tx: Transaction, version: VersionId, generation: GenerationId) -> list[StoredChunk]:
    """A version's chunks in order, without their tokens."""
    rows = await tx.rows(_STORED, version=version, generation=generation)
    return [
        StoredChunk(
            ChunkId(row["id"]),
            Chunk(
                ordinal=row["ordinal"],
                text=row["text"],
                heading_path=tuple(row["heading_path"]),
                page=row["page"],
                line=row["line"],
                start=row["char_start"],
                end=row["char_end"],
                tokens=(),
            ),
            row["reading_hash"],
        )
        for row in rows
    ]


async def length(tx: Transaction, version: VersionId, generation: GenerationId) -> int:
    """How many characters a version's text has, as far as it is in chunks."""
    return int(await tx.value(_LENGTH, version=version, generation=generation))


async def count(tx: Transaction, versions: Sequence[VersionId]) -> int:
    return int(await tx.value(_COUNT, versions=list(versions)))


def _passage(tx: Transaction, row: Any) -> Passage:
    return Passage(
        chunk=ChunkId(row["id"]),
        document=DocumentId(row["document_id"]),
        version=VersionId(row["version_id"]),
        source=SourceId(row["source_id"]),
        tenant=tx.tenant,
        title=row["title"],
        key=row["key"],
        heading_path=tuple(row["heading_path"]),
        page=row["page"],
        line=row["line"],
        text=row["text"],
        ordinal=row["ordinal"],
        twin_of=row["text_hash"],
    )
