"""Retries: failed versions go back to the queue, one, some or all. What is in quarantine stays there unless forced."""

from collections.abc import Collection
from dataclasses import dataclass

from carrel.domain.errors import Conflict, NotFound
from carrel.domain.ids import DocumentId, SourceId, UserId
from carrel.domain.jobs import JobKind
from carrel.store import jobs
from carrel.store.progress import CHANNEL
from carrel.store.transaction import Statement, Transaction

_RETRY = Statement(f"""
    update document_versions v set state = 'pending', stage = 'queued', attempts = 0, updated_at = now(),
        requested_by = :requester, failure_code = null, failure_detail = null, failure_retryable = null
    from documents d
    where v.tenant_id = :tenant and d.tenant_id = v.tenant_id and d.newest_version_id = v.id and d.deleted_at is null
      and v.state = 'failed' and (:documents::uuid[] is null or d.id = any (:documents))
      and (:source::uuid is null or v.source_id = :source) and (:code::text is null or v.failure_code = :code)
      and (:force::boolean or v.failure_code is distinct from 'quarantined')
    returning v.id, v.owner_id, v.size, pg_notify('{CHANNEL}', v.tenant_id || ' ' || v.document_id)
""")
_PRESENT = Statement("""
    select d.id, v.failure_code from documents d
    join document_versions v on v.tenant_id = d.tenant_id and v.id = d.newest_version_id
    where d.tenant_id = :tenant and d.id = any (:documents) and d.deleted_at is null
""")


@dataclass(frozen=True, slots=True)
class Redrive:
    """Which failed documents to try again; None means any. `force`: also those in quarantine."""

    documents: Collection[DocumentId] | None = None
    source: SourceId | None = None
    code: str | None = None
    force: bool = False


async def redrive(tx: Transaction, wish: Redrive, *, requester: UserId | None) -> int:
    """Failed versions back to the queue, each with a fresh count of attempts and asked for by the requester.

    Raises NotFound for a document that is not there: then none is tried.
    """
    named = None if wish.documents is None else list(set(wish.documents))
    if named is not None and len(await tx.rows(_PRESENT, documents=named)) < len(named):
        raise NotFound
    rows = await tx.rows(
        _RETRY, documents=named, source=wish.source, code=wish.code, force=wish.force, requester=requester
    )
    for row in rows:
        owner = row["owner_id"] and UserId(row["owner_id"])
        await jobs.enqueue(tx, JobKind.INGEST, row["id"], owner=owner, cost=jobs.cost_of(row["size"]))
    return len(rows)


async def retry(tx: Transaction, document: DocumentId, *, requester: UserId | None, force: bool = False) -> None:
    """Raises NotFound, Conflict `not_failed`, and `quarantined` unless it is forced."""
    if await redrive(tx, Redrive(documents=[document], force=force), requester=requester):
        return
    row = await tx.row(_PRESENT, documents=[document])
    if row is not None and row["failure_code"] == "quarantined":
        raise Conflict("This document crashed whatever read it, more than once: insist on it.", code="quarantined")
    raise Conflict("Only a failed document can be tried again.", code="not_failed")
