"""What was seen at a source's place: the tag, the bytes and the document of each thing, or why it could not be had."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from carrel.domain.errors import Conflict
from carrel.domain.ids import DocumentId, SourceId
from carrel.domain.library import Source
from carrel.domain.origins import Item, ItemStatus, Reason
from carrel.store.pages import Page, Place, page, place_of
from carrel.store.transaction import Statement, Transaction

_LISTED: Final = "items"
_TAGS = Statement("""
    select key, tag from source_items
    where tenant_id = :tenant and id = any (:ids) and tag is not null and failure_code is null
""")
_FIND = Statement("""
    select revision, document_id from source_items where tenant_id = :tenant and id = :id
""")
# While a run is on its way, what an event brings was seen in it: or the run's end would take it for gone.
_SEEN_IN: Final = """coalesce(:run::uuid, (
    select r.id from source_runs r where r.tenant_id = :tenant and r.source_id = :source and r.state = 'running'
    order by r.started_at desc, r.id desc limit 1))"""
_REMEMBER = Statement(f"""
    insert into source_items as i (tenant_id, id, source_id, owner_id, key, document_id, tag, fingerprint, seen_in,
                                   revision)
    values (:tenant, :id, :source, :owner, :key, :document, :tag, :fingerprint, {_SEEN_IN},
            :revision::bigint + 1)
    on conflict (tenant_id, id) do update
    set tag = excluded.tag, fingerprint = excluded.fingerprint,
        seen_in = excluded.seen_in, revision = i.revision + 1, failure_code = null, failure_detail = null,
        changed_at = now()
    where i.revision = :revision
""")
_FAIL = Statement(f"""
    insert into source_items as i (tenant_id, id, source_id, owner_id, key, document_id, seen_in, failure_code,
                                   failure_detail)
    values (:tenant, :id, :source, :owner, :key, :document, {_SEEN_IN}, :code, :detail)
    on conflict (tenant_id, id) do update
    set seen_in = excluded.seen_in, tag = null, revision = i.revision + 1, changed_at = now(),
        failure_code = excluded.failure_code, failure_detail = excluded.failure_detail
""")
_SEEN = Statement("""
    update source_items set seen_in = :run where tenant_id = :tenant and id = any (:ids)
""")
_DROP = Statement("delete from source_items where tenant_id = :tenant and id = :id and revision = :revision")
_ANY = Statement("""
    select count(*) from (
        select from documents where tenant_id = :tenant and source_id = :source and deleted_at is null limit :most) few
""")
_MISSING = Statement("""
    select d.id from documents d
    where d.tenant_id = :tenant and d.source_id = :source and d.deleted_at is null
      and (:after::uuid is null or d.id > :after)
      and not exists (select from source_items i
                      where i.tenant_id = d.tenant_id and i.document_id = d.id and i.seen_in = :run)
    order by d.id limit :most
""")
_CLEAR_MISSING = Statement("""
    delete from source_items where tenant_id = :tenant and source_id = :source and seen_in is distinct from :run
""")
_LIST = Statement("""
    select id, key, document_id, failure_code, failure_detail, changed_at from source_items
    where tenant_id = :tenant and source_id = :source
      and (:failed::boolean is null or (failure_code is not null) = :failed)
      and (:moment::timestamptz is null or (changed_at, id) < (:moment, :id::uuid))
    order by changed_at desc, id desc limit :most
""")
_FORGET_TAGS = Statement("update source_items set tag = null where tenant_id = :tenant and source_id = :source")
_FORGET_TAG = Statement("""
    update source_items set tag = null, revision = revision + 1
    where tenant_id = :tenant and document_id = :document and tag is not null
""")
_CLEAR = Statement("delete from source_items where tenant_id = :tenant and source_id = :source")


class Stale(Conflict):
    """Somebody else has looked at the thing meanwhile: look again."""

    default_code = "item_changed"


@dataclass(frozen=True, slots=True)
class Seen:
    """A thing as it was read."""

    key: str
    document: DocumentId
    tag: str | None
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Known:
    """What is remembered of a thing; revision 0 is nothing."""

    revision: int = 0
    document: DocumentId | None = None


def item_id(source: SourceId, key: str) -> UUID:
    return uuid.uuid5(source, writable(key))


def writable(key: str) -> str:
    """The key as it can be kept, also where no document can have it."""
    return key.encode("utf-8", "replace").decode().replace("\0", "?")[:1024]


async def tags(tx: Transaction, source: SourceId, keys: Sequence[str]) -> dict[str, str]:
    """The tags of those that were read and are as they should be; the others must be read again."""
    asked = {item_id(source, key): key for key in keys}
    found = {row["key"]: row["tag"] for row in await tx.rows(_TAGS, ids=list(asked))}
    return {key: found[writable(key)] for key in keys if writable(key) in found}


async def find(tx: Transaction, source: SourceId, key: str) -> Known:
    row = await tx.row(_FIND, id=item_id(source, key))
    if row is None:
        return Known()
    return Known(row["revision"], row["document_id"] and DocumentId(row["document_id"]))


async def remember(tx: Transaction, source: Source, seen: Seen, known: Known, *, run: UUID | None) -> None:
    """Raises Stale unless nobody has changed the item since it was `known`.

    What became another document is another item, since an item never changes its document. So it is with what was kept
    under a name in NFC, before the names of places were taken as they are.
    """
    if known.revision and known.document != seen.document:
        await drop(tx, source.id, seen.key, known)
    kept = await tx.run(
        _REMEMBER,
        id=item_id(source.id, seen.key),
        source=source.id,
        owner=source.owner,
        key=writable(seen.key),
        document=seen.document,
        tag=seen.tag,
        fingerprint=seen.fingerprint,
        run=run,
        revision=known.revision,
    )
    if not kept:
        raise Stale("This has changed meanwhile.")


async def fail(
    tx: Transaction, source: Source, key: str, reason: Reason, *, document: DocumentId | None, run: UUID | None
) -> None:
    """It is tried again the next time, since its tag is forgotten; its document stays as it is."""
    await tx.run(
        _FAIL,
        id=item_id(source.id, key),
        source=source.id,
        owner=source.owner,
        key=writable(key),
        document=document,
        run=run,
        code=reason.code,
        detail=reason.detail,
    )


async def mark_seen(tx: Transaction, source: SourceId, keys: Collection[str], *, run: UUID) -> None:
    await tx.run(_SEEN, ids=[item_id(source, key) for key in keys], run=run)


async def drop(tx: Transaction, source: SourceId, key: str, known: Known) -> None:
    """Raises Stale unless nobody has changed the item since it was `known`."""
    if not await tx.run(_DROP, id=item_id(source, key), revision=known.revision):
        raise Stale("This has changed meanwhile.")


async def has_documents(tx: Transaction, source: SourceId, *, least: int) -> bool:
    return int(await tx.value(_ANY, source=source, most=least)) >= least


async def missing(
    tx: Transaction, source: SourceId, *, run: UUID, after: DocumentId | None, most: int
) -> list[DocumentId]:
    """The next documents of the source of which the run has seen nothing, in one order."""
    rows = await tx.rows(_MISSING, source=source, run=run, after=after, most=most)
    return [DocumentId(row["id"]) for row in rows]


async def clear_missing(tx: Transaction, source: SourceId, *, run: UUID) -> None:
    """What the run has not seen is remembered no more."""
    await tx.run(_CLEAR_MISSING, source=source, run=run)


async def listed(
    tx: Transaction, source: SourceId, *, status: ItemStatus | None, limit: int, cursor: str | None
) -> Page[Item]:
    """Newest change first. Raises Invalid `invalid_cursor`."""
    place = place_of(cursor, of=_LISTED)
    failed = None if status is None else status is ItemStatus.FAILED
    rows = await tx.rows(
        _LIST,
        source=source,
        failed=failed,
        moment=place and place.created_at,
        id=place and place.id,
        most=limit + 1,
    )
    places = [Place(row["changed_at"], row["id"]) for row in rows]
    return page([_item(row) for row in rows], places, limit, of=_LISTED)


async def forget_tags(tx: Transaction, source: SourceId) -> None:
    """All is read again: the tags are another place's."""
    await tx.run(_FORGET_TAGS, source=source)


async def forget_tag(tx: Transaction, document: DocumentId) -> None:
    """The thing that became this document is read again the next time, whatever its place says of it."""
    await tx.run(_FORGET_TAG, document=document)


async def clear(tx: Transaction, source: SourceId) -> None:
    await tx.run(_CLEAR, source=source)


def _item(row: Any) -> Item:
    refused = row["failure_code"]
    return Item(
        key=row["key"],
        document=row["document_id"] and DocumentId(row["document_id"]),
        failure=None if refused is None else Reason(refused, row["failure_detail"]),
        changed_at=row["changed_at"],
    )
