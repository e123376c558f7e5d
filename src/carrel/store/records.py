"""Records of versions: that there was one, and when it was the one that was read. No text and no bytes."""

from collections.abc import Sequence
from typing import Any, Final

from carrel.domain.errors import NotFound
from carrel.domain.ids import DocumentId, UserId, VersionId
from carrel.domain.library import Source, VersionRecord
from carrel.store.pages import Page, Place, page, place_of
from carrel.store.transaction import Statement, Transaction

MOST_RECORDS: Final = 1_000  # of one document: a file that changes every minute would bring half a million a year

NEW_RECORD: Final = """
    insert into version_records
        (tenant_id, id, document_id, source_id, owner_id, number, fingerprint, media_type, size, brought_by)
    select :tenant, :id, :document, :source, :owner,
           1 + (select coalesce(max(r.number), 0) from version_records r
                where r.tenant_id = :tenant and r.document_id = :document),
           :fingerprint, :media_type, :size, :requester
    returning number
"""
"""For the statement that adds a version, under the lock of its document: the record has the document's next number."""

TURN: Final = """
    update version_records set
        live_from = case when id = :id then now() else live_from end,
        chunks = case when id = :id then :chunks else chunks end,
        live_until = case when id = :id then null else now() end
    where tenant_id = :tenant and document_id = :document
      and (id = :id or (live_from is not null and live_until is null))
"""
"""For the statement that makes a version live: from now on this one is read; the one before was, until now."""

_PRUNE = Statement("""
    delete from version_records where tenant_id = :tenant and document_id = :document and number <= :upto
""")
_FORGET = Statement("delete from version_records where tenant_id = :tenant and document_id = :document")
_RESUME = Statement("""
    update version_records r set number = :number, created_at = :created_at,
        live_from = coalesce(:live_from, r.live_from), brought_by = :brought_by
    from documents d
    where d.tenant_id = :tenant and d.id = :document and r.tenant_id = :tenant and r.id = d.newest_version_id
""")
_REMEMBER = Statement("""
    insert into version_records
        (tenant_id, id, document_id, source_id, owner_id, number, fingerprint, media_type, size, chunks, brought_by,
         created_at, live_from, live_until)
    values (:tenant, :id, :document, :source, :owner, :number, :fingerprint, :media_type, :size, :chunks, :brought_by,
            :created_at, :live_from, :live_until)
""")
_IS_THERE = Statement("select 1 from documents where tenant_id = :tenant and id = :document and deleted_at is null")
_LIST = Statement("""
    select r.id, r.number, r.fingerprint, r.media_type, r.size, r.chunks, r.brought_by, r.created_at, r.live_from,
           r.live_until
    from version_records r
    join documents d on d.tenant_id = :tenant and d.id = r.document_id and d.deleted_at is null
    where r.tenant_id = :tenant and r.document_id = :document
      and (:id::uuid is null or r.number < (select p.number from version_records p
                                            where p.tenant_id = :tenant and p.id = :id))
    order by r.number desc limit :most
""")


async def prune(tx: Transaction, document: DocumentId, *, newest: int) -> None:
    """The oldest go beyond MOST_RECORDS."""
    if newest > MOST_RECORDS:
        await tx.run(_PRUNE, document=document, upto=newest - MOST_RECORDS)


async def forget(tx: Transaction, document: DocumentId) -> int:
    """How many there were."""
    return await tx.run(_FORGET, document=document)


async def resume(tx: Transaction, document: DocumentId, former: VersionRecord) -> None:
    """The newest version is one that there was before, elsewhere: it has that one's number and times."""
    await tx.run(
        _RESUME,
        document=document,
        number=former.number,
        created_at=former.created_at,
        live_from=former.live_from,
        brought_by=former.brought_by,
    )


async def remember(tx: Transaction, document: DocumentId, source: Source, former: Sequence[VersionRecord]) -> None:
    """Versions that are not here any more, or never were."""
    await tx.run_many(
        _REMEMBER,
        [
            {
                "id": record.id,
                "document": document,
                "source": source.id,
                "owner": source.owner,
                "number": record.number,
                "fingerprint": bytes.fromhex(record.fingerprint),
                "media_type": record.media_type,
                "size": record.size,
                "chunks": record.chunks,
                "brought_by": record.brought_by,
                "created_at": record.created_at,
                "live_from": record.live_from,
                "live_until": record.live_until,
            }
            for record in former
        ],
    )


async def listed(tx: Transaction, document: DocumentId, *, limit: int, cursor: str | None) -> Page[VersionRecord]:
    """Newest first. Raises NotFound for a document that is not there, Invalid `invalid_cursor`."""
    name = f"versions:{document}"
    place = place_of(cursor, of=name)
    if not await tx.value(_IS_THERE, document=document):
        raise NotFound
    rows = await tx.rows(_LIST, document=document, id=place and place.id, most=limit + 1)
    places = [Place(row["created_at"], row["id"]) for row in rows]
    return page([_record(row) for row in rows], places, limit, of=name)


def _record(row: Any) -> VersionRecord:
    return VersionRecord(
        id=VersionId(row["id"]),
        number=row["number"],
        fingerprint=row["fingerprint"].hex(),
        media_type=row["media_type"],
        size=row["size"],
        chunks=row["chunks"],
        brought_by=row["brought_by"] and UserId(row["brought_by"]),
        created_at=row["created_at"],
        live_from=row["live_from"],
        live_until=row["live_until"],
    )
