"""Documents as their readers see them: the newest version's state, the live version's text."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from carrel.domain.answers import Wish
from carrel.domain.errors import NotFound
from carrel.domain.ids import BotId, DocumentId, FileId, SourceId, VersionId
from carrel.domain.library import AttributeValue, ContentFault, Document, DocumentStatus, Failure, Stage, percent_of
from carrel.domain.library import Content as KeptContent
from carrel.store import sources
from carrel.store.pages import Page, Place, page, place_of
from carrel.store.steps import Step, Walked, lost, walked
from carrel.store.transaction import Statement, Transaction

_LISTED: Final = "documents"
_SELECT = """
    select d.id, d.source_id, d.key, d.title, d.newest_version_id, d.live_version_id, d.attributes, d.same_as,
           d.created_at, d.updated_at, v.state, v.stage, v.progress, v.media_type, v.size, v.attempts,
           v.failure_code, v.failure_detail, v.failure_retryable, coalesce(l.chunks, 0) as chunks, f.file_id,
           case when l.id is null then v.content_code else l.content_code end as content_code,
           case when l.id is null then v.checked_at else l.checked_at end as checked_at
    from documents d
    join document_versions v on v.tenant_id = d.tenant_id and v.id = d.newest_version_id
    left join document_versions l on l.tenant_id = d.tenant_id and l.id = d.live_version_id
    left join file_documents f on f.tenant_id = d.tenant_id and f.document_id = d.id
"""
_GET = Statement(f"{_SELECT} where d.tenant_id = :tenant and d.id = :id and d.deleted_at is null")
_LIST = Statement(f"""
    {_SELECT}
    where d.tenant_id = :tenant and d.deleted_at is null
      and (:sources::uuid[] is null or d.source_id = any (:sources))
      and (:status::text is null or v.state = :status) and (:code::text is null or v.failure_code = :code)
      and (:moment::timestamptz is null or (d.created_at, d.id) < (:moment, :id::uuid))
    order by d.created_at desc, d.id desc limit :most
""")
_IN_SOURCE = Statement(f"""
    {_SELECT}
    where d.tenant_id = :tenant and d.source_id = :source and d.deleted_at is null
      and (d.id = :id or f.file_id = :id)
""")
_PLACE = Statement("""
    select d.created_at, d.id from documents d
    left join file_documents f on f.tenant_id = d.tenant_id and f.document_id = d.id
    where d.tenant_id = :tenant and d.source_id = :source and (d.id = :id or f.file_id = :id)
""")
_WALK = f"""
    {_SELECT}
    where d.tenant_id = :tenant and d.source_id = :source and d.deleted_at is null
      and (:states::text[] is null or v.state = any (:states)) and (:ids::uuid[] is null or d.id = any (:ids))
      and (:moment::timestamptz is null or (d.created_at, d.id) {{beyond}} (:moment, :id::uuid))
    order by d.created_at {{direction}}, d.id {{direction}} limit :most
    """
_WALK_DOWN = Statement(_WALK.replace("{beyond}", "<").replace("{direction}", "desc"))
_WALK_UP = Statement(_WALK.replace("{beyond}", ">").replace("{direction}", "asc"))
_MANY = Statement(f"{_SELECT} where d.tenant_id = :tenant and d.id = any (:ids) and d.deleted_at is null")
_ATTRIBUTES = Statement("""
    update documents set attributes = :attributes, updated_at = now()
    where tenant_id = :tenant and id = :id and deleted_at is null
""")
_CONTENT = Statement("""
    select d.key, v.blob_key, v.media_type, v.size from documents d
    join document_versions v on v.tenant_id = d.tenant_id and v.id = coalesce(d.live_version_id, d.newest_version_id)
    where d.tenant_id = :tenant and d.id = :id and d.deleted_at is null
""")


@dataclass(frozen=True, slots=True)
class Content:
    """Where a document's bytes are kept."""

    key: str
    blob_key: str
    media_type: str
    size: int


@dataclass(frozen=True, slots=True)
class Shelf:
    """Which documents a list shows; None shows all."""

    source: SourceId | None = None
    bot: BotId | None = None
    status: DocumentStatus | None = None
    code: str | None = None  # of the failure


@dataclass(frozen=True, slots=True)
class Strip:
    """The documents of one source, perhaps only those in some states, or only some of them."""

    source: SourceId
    states: Collection[DocumentStatus] | None = None
    only: Collection[DocumentId] | None = None


async def get(tx: Transaction, document: DocumentId) -> Document:
    """Raises NotFound."""
    row = await tx.row(_GET, id=document)
    if row is None:
        raise NotFound
    return _document(row)


async def listed(tx: Transaction, shelf: Shelf, *, limit: int, cursor: str | None) -> Page[Document]:
    """Raises NotFound when the source or the bot is not there."""
    place = place_of(cursor, of=_LISTED)
    wanted = await _sources(tx, shelf)
    moment, identifier = (place.created_at, place.id) if place else (None, None)
    rows = await tx.rows(
        _LIST, sources=wanted, status=shelf.status, code=shelf.code, moment=moment, id=identifier, most=limit + 1
    )
    places = [Place(row["created_at"], row["id"]) for row in rows]
    return page([_document(row) for row in rows], places, limit, of=_LISTED)


async def in_source(tx: Transaction, source: SourceId, identifier: UUID) -> Document:
    """By its own id, or by the file's that it was made of. Raises NotFound."""
    row = await tx.row(_IN_SOURCE, source=source, id=identifier)
    if row is None:
        raise NotFound
    return _document(row)


async def many(tx: Transaction, ids: Collection[DocumentId]) -> dict[DocumentId, Document]:
    """Those of them that are there."""
    return {DocumentId(row["id"]): _document(row) for row in await tx.rows(_MANY, ids=list(ids))}


async def walk(tx: Transaction, strip: Strip, step: Step) -> Walked[Document]:
    """A step may start at what is gone by now. Raises Invalid `invalid_cursor` where it never was in the source."""
    moment, identifier = None, None
    if step.start is not None:
        place = await tx.row(_PLACE, source=strip.source, id=step.start)
        if place is None:
            raise lost(step)
        moment, identifier = place["created_at"], place["id"]
    states = None if strip.states is None else [state.value for state in strip.states]
    ids = None if strip.only is None else list(strip.only)
    rows = await tx.rows(
        _WALK_DOWN if step.goes_down else _WALK_UP,
        source=strip.source,
        states=states,
        ids=ids,
        moment=moment,
        id=identifier,
        most=step.most,
    )
    return walked(step, [_document(row) for row in rows])


async def describe(tx: Transaction, document: DocumentId, attributes: Mapping[str, AttributeValue]) -> Document:
    """Raises NotFound."""
    if not await tx.run(_ATTRIBUTES, id=document, attributes=dict(attributes)):
        raise NotFound
    return await get(tx, document)


async def content(tx: Transaction, document: DocumentId) -> Content:
    """The live version's bytes, or the newest's where none is live yet. Raises NotFound."""
    row = await tx.row(_CONTENT, id=document)
    if row is None:
        raise NotFound
    return Content(row["key"], row["blob_key"], row["media_type"], row["size"])


async def _sources(tx: Transaction, shelf: Shelf) -> list[SourceId] | None:
    if shelf.source is None and shelf.bot is None:
        return None
    wanted = None if shelf.source is None else frozenset({shelf.source})
    return list(await sources.readable(tx, Wish(bot=shelf.bot, sources=wanted)))


def _document(row: Any) -> Document:
    return Document(
        id=DocumentId(row["id"]),
        source=SourceId(row["source_id"]),
        key=row["key"],
        title=row["title"],
        status=DocumentStatus(row["state"]),
        stage=Stage(row["stage"]) if row["state"] in {"pending", "processing"} else None,
        version=VersionId(row["newest_version_id"]),
        live_version=row["live_version_id"] and VersionId(row["live_version_id"]),
        media_type=row["media_type"],
        size=row["size"],
        chunks=row["chunks"],
        attempts=row["attempts"],
        error=_failure(row),
        percent=percent_of(DocumentStatus(row["state"]), row["progress"]),
        attributes=row["attributes"],
        same_as=row["same_as"] and DocumentId(row["same_as"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        file=row["file_id"] and FileId(row["file_id"]),
        content=KeptContent(row["content_code"] and ContentFault(row["content_code"]), row["checked_at"]),
    )


def _failure(row: Any) -> Failure | None:
    if row["failure_code"] is None:
        return None
    return Failure(row["failure_code"], row["failure_detail"], Stage(row["stage"]), row["failure_retryable"])
