"""Forgetting: what must vanish at once in the same transaction, and the receipt by which the rest is purged."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from carrel.domain.errors import NotFound
from carrel.domain.ids import DocumentId, SourceId, UserId, VersionId, new_id
from carrel.domain.jobs import JobKind
from carrel.store import chunks, jobs, quotas, records, source_items, source_runs
from carrel.store.progress import CHANNEL
from carrel.store.transaction import Statement, Transaction

REMOVED: Final = "[removed]"

_PRESENT = Statement("""
    select id from documents where tenant_id = :tenant and deleted_at is null and (id = :id or same_as = :id)
    order by id for update
""")
_PRESENT_OF = Statement("""
    select id from documents
    where tenant_id = :tenant and deleted_at is null and (id = any (:ids) or same_as = any (:ids))
    order by id for update
""")
_VERSIONS = Statement("select id from document_versions where tenant_id = :tenant and document_id = :document")
_BURY = Statement(f"""
    update documents set deleted_at = now(), updated_at = now(), newest_version_id = null, live_version_id = null,
        same_as = null, title = '', attributes = '{{}}'
    where tenant_id = :tenant and id = :id returning pg_notify('{CHANNEL}', tenant_id || ' ' || id)
""")
_NO_TWIN = Statement("update documents set same_as = null where tenant_id = :tenant and same_as = :id")
_NO_FILE = Statement("delete from file_documents where tenant_id = :tenant and document_id = :id")
_REDACT = Statement("select redact_answers(:id, :replacement)")
_DROP_QUOTING_MEMOS = Statement("""
    delete from idempotency_keys where tenant_id = :tenant and source_ids && array(
        select d.source_id from documents d where d.tenant_id = :tenant and d.id = any (:documents))
""")
_DROP_MEMOS_OF_SOURCE = Statement("""
    delete from idempotency_keys where tenant_id = :tenant and source_ids && array[:source::uuid]
""")
_DELETE_VERSIONS = Statement("""
    delete from document_versions where tenant_id = :tenant and id = any (:versions)
    returning blob_key, owner_id, size
""")
_RECEIPT = Statement("""
    insert into erasure_receipts (tenant_id, id, document_id, version_ids, blob_keys, chunks, answers, records)
    values (:tenant, :id, :document, :versions, :blobs, :chunks, :answers, :records)
""")
_READ = Statement("""
    select id, document_id, version_ids, blob_keys, chunks, answers, records, completed_at from erasure_receipts
    where tenant_id = :tenant and id = :id
""")
_COMPLETE = Statement("""
    update erasure_receipts set completed_at = now() where tenant_id = :tenant and id = :id
""")
_TO_PURGE = Statement("""
    select coalesce(sum(chunks), 0) from erasure_receipts where tenant_id = :tenant and completed_at is null
""")
_OF_SOURCE = Statement("""
    select id, owner_id from documents where tenant_id = :tenant and source_id = :source and deleted_at is null
    order by id for update
""")
_HIDE_SOURCE = Statement("""
    update documents set deleted_at = now(), updated_at = now(), same_as = null, title = '', attributes = '{}'
    where tenant_id = :tenant and source_id = :source and deleted_at is null
""")
_HIDDEN = Statement("""
    select id from documents
    where tenant_id = :tenant and source_id = :source and deleted_at is not null and newest_version_id is not null
    order by id limit :most for update
""")
_ENTRIES_LEFT = Statement("select entries_left(:versions)")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was forgotten, and what the purge still has to remove from index and blob store."""

    id: UUID
    document: DocumentId
    versions: tuple[VersionId, ...]
    blobs: tuple[str, ...]
    chunks: int
    answers: int
    records: int
    complete: bool


@dataclass(frozen=True, slots=True)
class _Gone:
    """A receipt, and whose the document was: only its owner's transaction can see that nothing is left."""

    receipt: UUID
    owner: UserId | None
    bytes: int


async def erase(tx: Transaction, document: DocumentId) -> UUID:
    """Invisible from this transaction on: text, entries, versions, quotations. The receipt's id. Raises NotFound.

    Its twins are locked with it, in one order: two deletions of twins at once do not wait for each other for ever.
    """
    if document not in [row["id"] for row in await tx.rows(_PRESENT, id=document)]:
        raise NotFound
    await tx.run(_DROP_QUOTING_MEMOS, documents=[document])
    gone = await _vanish(tx, document)
    await _purge_later(tx, [gone], documents=1)
    return gone.receipt


async def erase_many(tx: Transaction, documents: Collection[DocumentId]) -> list[DocumentId]:
    """As `erase`, those of them that are there still."""
    some = await lock(tx, documents)
    await erase_locked(tx, some)
    return some


async def hide_source(tx: Transaction, source: SourceId) -> None:
    """Every document of a source is invisible from this transaction on; a job empties them, some at a time.

    All are locked first, in one order, against those who change one. What the source remembers of its place goes, and
    whoever walks it stops.
    """
    rows = await tx.rows(_OF_SOURCE, source=source)
    await tx.run(_HIDE_SOURCE, source=source)
    await tx.run(_DROP_MEMOS_OF_SOURCE, source=source)
    await source_items.clear(tx, source)
    await source_runs.clear(tx, source)
    await jobs.drop(tx, JobKind.REFRESH, [source])
    await quotas.free(tx, documents=len(rows), size=0)
    if rows:
        owner = rows[0]["owner_id"] and UserId(rows[0]["owner_id"])
        await jobs.enqueue(tx, JobKind.EMPTY, source, owner=owner)


async def empty_hidden(tx: Transaction, source: SourceId, *, most: int) -> int:
    """The next documents of a source that was hidden, as `erase`. How many there were."""
    documents = [DocumentId(row["id"]) for row in await tx.rows(_HIDDEN, source=source, most=most)]
    if documents:
        await _purge_later(tx, [await _vanish(tx, document) for document in documents], documents=0)
    return len(documents)


async def left(tx: Transaction, versions: Sequence[VersionId]) -> int:
    """Chunks of these versions, and their entries in PostgreSQL's index tables: none, once they were forgotten."""
    return await chunks.count(tx, versions) + int(await tx.value(_ENTRIES_LEFT, versions=list(versions)))


async def lock(tx: Transaction, documents: Collection[DocumentId]) -> list[DocumentId]:
    """Those of the documents that are there, locked with their twins, in one order."""
    wanted = set(documents)
    rows = await tx.rows(_PRESENT_OF, ids=list(documents))
    return [DocumentId(row["id"]) for row in rows if row["id"] in wanted]


async def erase_locked(tx: Transaction, documents: Sequence[DocumentId]) -> None:
    """Several that were locked, as `erase`."""
    await tx.run(_DROP_QUOTING_MEMOS, documents=list(documents))
    await _purge_later(tx, [await _vanish(tx, document) for document in documents], documents=len(documents))


async def _vanish(tx: Transaction, document: DocumentId) -> _Gone:
    versions = [VersionId(row["id"]) for row in await tx.rows(_VERSIONS, document=document)]
    await tx.run(_BURY, id=document)
    await tx.run(_NO_TWIN, id=document)
    await tx.run(_NO_FILE, id=document)
    answers = int(await tx.value(_REDACT, id=document, replacement=REMOVED))
    forgotten = await records.forget(tx, document)
    return await _give_up(tx, document, versions, answers=answers, forgotten=forgotten)


async def discard(tx: Transaction, document: DocumentId, versions: Sequence[VersionId]) -> None:
    """Versions that were replaced: their text, entries and jobs now, their bytes by the purge."""
    if versions:
        await _purge_later(tx, [await _give_up(tx, document, versions, answers=0)], documents=0)


async def _give_up(
    tx: Transaction, document: DocumentId, versions: Sequence[VersionId], *, answers: int, forgotten: int = 0
) -> _Gone:
    """The jobs first: a worker writes chunks only while it holds its job's row."""
    await jobs.drop(tx, JobKind.INGEST, versions)
    removed = await chunks.clear(tx, versions)
    rows = await tx.rows(_DELETE_VERSIONS, versions=list(versions))
    receipt = new_id()
    await tx.run(
        _RECEIPT,
        id=receipt,
        document=document,
        versions=list(versions),
        blobs=[row["blob_key"] for row in rows],
        chunks=removed,
        answers=answers,
        records=forgotten,
    )
    owner = next((UserId(row["owner_id"]) for row in rows if row["owner_id"]), None)
    return _Gone(receipt, owner, sum(row["size"] for row in rows))


async def _purge_later(tx: Transaction, gone: Sequence[_Gone], *, documents: int) -> None:
    """Last in a transaction: it holds the tenant's counters and its place in the queue until the commit."""
    await quotas.free(tx, documents=documents, size=sum(one.bytes for one in gone))
    for one in gone:
        await jobs.enqueue(tx, JobKind.PURGE, one.receipt, owner=one.owner)
    await jobs.enqueue(tx, JobKind.WEIGH, tx.tenant, delay=1.0)


async def receipt(tx: Transaction, identifier: UUID) -> Receipt | None:
    row = await tx.row(_READ, id=identifier)
    return _receipt(row) if row else None


async def complete(tx: Transaction, identifier: UUID) -> None:
    await tx.run(_COMPLETE, id=identifier)


async def chunks_to_purge(tx: Transaction) -> int:
    """How many chunks are gone from the store while an index may still hold their entries."""
    return int(await tx.value(_TO_PURGE))


def _receipt(row: Any) -> Receipt:
    return Receipt(
        id=row["id"],
        document=DocumentId(row["document_id"]),
        versions=tuple(map(VersionId, row["version_ids"])),
        blobs=tuple(row["blob_keys"]),
        chunks=row["chunks"],
        answers=row["answers"],
        records=row["records"],
        complete=row["completed_at"] is not None,
    )
