"""Forgetting: what must vanish at once in the same transaction, and the receipt by which the rest is purged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from carrel.domain.errors import NotFound
from carrel.domain.ids import DocumentId, SourceId, UserId, VersionId, new_id
from carrel.domain.jobs import JobKind
from carrel.store import chunks, jobs, quotas
from carrel.store.transaction import Statement, Transaction

REMOVED: Final = "[removed]"

_PRESENT = Statement("""
    select id from documents where tenant_id = :tenant and deleted_at is null and (id = :id or same_as = :id)
    order by id for update
""")
_VERSIONS = Statement("select id from document_versions where tenant_id = :tenant and document_id = :document")
_BURY = Statement("""
    update documents set deleted_at = now(), updated_at = now(), newest_version_id = null, live_version_id = null,
        same_as = null, title = '', attributes = '{}'
    where tenant_id = :tenant and id = :id
""")
_NO_TWIN = Statement("update documents set same_as = null where tenant_id = :tenant and same_as = :id")
_NO_FILE = Statement("delete from file_documents where tenant_id = :tenant and document_id = :id")
_REDACT = Statement("select redact_answers(:id, :replacement)")
_DROP_QUOTING_MEMOS = Statement("""
    delete from idempotency_keys where tenant_id = :tenant and source_ids && array(
        select d.source_id from documents d where d.tenant_id = :tenant and d.id = any (:documents))
""")
_DELETE_VERSIONS = Statement("""
    delete from document_versions where tenant_id = :tenant and id = any (:versions)
    returning blob_key, owner_id, size
""")
_RECEIPT = Statement("""
    insert into erasure_receipts (tenant_id, id, document_id, version_ids, blob_keys, chunks, answers)
    values (:tenant, :id, :document, :versions, :blobs, :chunks, :answers)
""")
_READ = Statement("""
    select id, document_id, version_ids, blob_keys, chunks, answers, completed_at from erasure_receipts
    where tenant_id = :tenant and id = :id
""")
_COMPLETE = Statement("""
    update erasure_receipts set completed_at = now() where tenant_id = :tenant and id = :id
""")
_TO_PURGE = Statement("""
    select coalesce(sum(chunks), 0) from erasure_receipts where tenant_id = :tenant and completed_at is null
""")
_OF_SOURCE = Statement("""
    select id from documents where tenant_id = :tenant and source_id = :source and deleted_at is null
    order by id for update
""")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was forgotten, and what the purge still has to remove from index and blob store."""

    id: UUID
    document: DocumentId
    versions: tuple[VersionId, ...]
    blobs: tuple[str, ...]
    chunks: int
    answers: int
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


async def erase_source(tx: Transaction, source: SourceId) -> None:
    """Every document of a source, as `erase`. All are locked first, in one order, against those who change one."""
    documents = [DocumentId(row["id"]) for row in await tx.rows(_OF_SOURCE, source=source)]
    await tx.run(_DROP_QUOTING_MEMOS, documents=documents)
    await _purge_later(tx, [await _vanish(tx, document) for document in documents], documents=len(documents))


async def _vanish(tx: Transaction, document: DocumentId) -> _Gone:
    versions = [VersionId(row["id"]) for row in await tx.rows(_VERSIONS, document=document)]
    await tx.run(_BURY, id=document)
    await tx.run(_NO_TWIN, id=document)
    await tx.run(_NO_FILE, id=document)
    answers = int(await tx.value(_REDACT, id=document, replacement=REMOVED))
    return await _give_up(tx, document, versions, answers=answers)


async def discard(tx: Transaction, document: DocumentId, versions: Sequence[VersionId]) -> None:
    """Versions that were replaced: their text, entries and jobs now, their bytes by the purge."""
    if versions:
        await _purge_later(tx, [await _give_up(tx, document, versions, answers=0)], documents=0)


async def _give_up(tx: Transaction, document: DocumentId, versions: Sequence[VersionId], *, answers: int) -> _Gone:
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
        complete=row["completed_at"] is not None,
    )
