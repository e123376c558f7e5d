"""Twins: documents of one source with the same bytes. Never beyond the source, nor the tenant."""

from dataclasses import dataclass
from typing import Final

from carrel.domain.ids import DocumentId, SourceId, VersionId
from carrel.domain.library import Version
from carrel.store.contents import Kept
from carrel.store.transaction import Statement, Transaction

# Twins are few: found first by their bytes, or the planner walks the documents in their order until one fits.
_TWIN: Final = Statement("""
    with same as materialized (
        select v.id, v.blob_key, v.content_code is not null as lacks from document_versions v
        where v.tenant_id = :tenant and v.source_id = :source and v.fingerprint = :fingerprint and v.state <> 'failed'
    )
    select d.id, d.key, same.id as version_id, same.blob_key, same.lacks
    from documents d join same on same.id = d.newest_version_id
    where d.tenant_id = :tenant and d.source_id = :source and d.id <> :id and d.deleted_at is null
    order by :lacking_first::boolean and same.lacks desc, d.created_at, d.id limit 1
""")
_LACKING: Final = Statement("""
    select d.same_as, v.media_type from documents d
    join document_versions v on v.tenant_id = d.tenant_id and v.id = d.newest_version_id
    join sources s on s.tenant_id = d.tenant_id and s.id = d.source_id
    where d.tenant_id = :tenant and d.id = :id and d.deleted_at is null and s.deleted_at is null
      and v.fingerprint = :fingerprint and v.content_code is not null
""")
_LIVE_TWIN: Final = Statement("""
    with same as materialized (
        select v.id from document_versions v
        where v.tenant_id = :tenant and v.source_id = :source and v.fingerprint = :fingerprint
          and v.state = 'ready' and v.media_type = :media_type
    )
    select same.id, d.title, d.key from documents d join same on same.id = d.live_version_id
    where d.tenant_id = :tenant and d.deleted_at is null and d.id <> :document
    order by d.created_at, d.id limit 1
""")


@dataclass(frozen=True, slots=True)
class Twin:
    """A document with these bytes, and where they lie. `lacks`: they were lost or damaged there."""

    document: DocumentId
    key: str
    kept: Kept
    lacks: bool


@dataclass(frozen=True, slots=True)
class Lacking:
    """A document whose bytes were lost or damaged, and what they were read as."""

    same_as: DocumentId | None
    media_type: str


@dataclass(frozen=True, slots=True)
class LiveTwin:
    """Another document of the same source whose live version has the same bytes, read as the same type."""

    version: VersionId
    title: str
    key: str


async def find(
    tx: Transaction, source: SourceId, document: DocumentId, *, fingerprint: bytes, lacking_first: bool
) -> Twin | None:
    """The eldest other document of the source with these bytes; with `lacking_first` one that lost them before it."""
    row = await tx.row(_TWIN, source=source, id=document, fingerprint=fingerprint, lacking_first=lacking_first)
    if row is None:
        return None
    return Twin(DocumentId(row["id"]), row["key"], Kept(VersionId(row["version_id"]), row["blob_key"]), row["lacks"])


async def lacking(tx: Transaction, document: DocumentId, *, fingerprint: bytes) -> Lacking | None:
    """The document, if its newest version has these bytes and has lost them."""
    row = await tx.row(_LACKING, id=document, fingerprint=fingerprint)
    return None if row is None else Lacking(row["same_as"] and DocumentId(row["same_as"]), row["media_type"])


async def live(tx: Transaction, version: Version) -> LiveTwin | None:
    row = await tx.row(
        _LIVE_TWIN,
        source=version.source,
        document=version.document,
        fingerprint=version.fingerprint,
        media_type=version.media_type,
    )
    return LiveTwin(VersionId(row["id"]), row["title"], row["key"]) if row else None
