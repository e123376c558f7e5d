"""Versions: how a document comes to be, is replaced, fails, is tried again and goes. The row is the truth of each.

pending -> processing -> ready (live) -> gone, when a newer one is ready
                      -> failed -> pending, by retry
A version that is not ready has a job; a version without a job is ready or failed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import asyncpg

from carrel.domain.errors import Conflict, NotFound
from carrel.domain.ids import DocumentId, SourceId, UserId, VersionId, document_id, new_id
from carrel.domain.jobs import Claim, JobKind
from carrel.domain.keys import title_from_key
from carrel.domain.library import Blob, ChunkRules, Duplicates, Failure, Outcome, Source, Stage, Version
from carrel.store import jobs, records, twins
from carrel.store.contents import Kept
from carrel.store.progress import TOLD
from carrel.store.records import NEW_RECORD, TURN
from carrel.store.transaction import Statement, Transaction

# A document's id is made from its key, so both are taken at once: neither may be an error.
_OPEN = Statement("""
    insert into documents (tenant_id, id, source_id, owner_id, key, title)
    select s.tenant_id, :id::uuid, s.id, s.owner_id, :key::text, :title::text from sources s
    where s.tenant_id = :tenant and s.id = :source and s.deleted_at is null for share
    on conflict do nothing returning id
""")
# Before its documents, as whoever deletes it locks them.
_HOLD_SOURCE = Statement("""
    select 1 from sources where tenant_id = :tenant and id = :source and deleted_at is null for share
""")
# With its twins, as whoever deletes it locks them: in one order, so that neither waits for the other for ever.
_LOCK = Statement("""
    select d.id, d.newest_version_id, d.deleted_at from documents d
    join sources s on s.tenant_id = d.tenant_id and s.id = d.source_id and s.deleted_at is null
    where d.tenant_id = :tenant and (d.id = :id or d.same_as = :id) order by d.id for update of d
""")
_DELIVERED_AGAIN = Statement("""
    update documents d set deliveries = d.deliveries + 1 from document_versions v
    where d.tenant_id = :tenant and d.id = :id and d.deleted_at is null
      and v.tenant_id = d.tenant_id and v.id = d.newest_version_id and v.fingerprint = :fingerprint
      and coalesce(v.failure_code, '') not in ('content_missing', 'requester_suspended') and v.content_code is null
    returning v.id, v.blob_key
""")
_ALL_DELIVERED_AGAIN = Statement("""
    with same as (
        select d.id, v.id as version_id, v.blob_key
        from unnest(:ids::uuid[], :fingerprints::bytea[]) given (id, fingerprint)
        join documents d on d.tenant_id = :tenant and d.id = given.id and d.deleted_at is null
        join document_versions v on v.tenant_id = d.tenant_id and v.id = d.newest_version_id
            and v.fingerprint = given.fingerprint
            and coalesce(v.failure_code, '') not in ('content_missing', 'requester_suspended')
            and v.content_code is null
        order by d.id for update of d
    )
    update documents d set deliveries = d.deliveries + 1 from same where d.tenant_id = :tenant and d.id = same.id
    returning d.id, same.version_id, same.blob_key
""")
_ONE_AT_A_TIME = Statement("select pg_advisory_xact_lock(:fingerprint)")
_FORGET_NEW = Statement("""
    update documents set deleted_at = now() where tenant_id = :tenant and id = :id and newest_version_id is null
""")
_ADOPT = Statement(f"""
    with added as (
        insert into document_versions
            (tenant_id, id, document_id, source_id, owner_id, fingerprint, blob_key, media_type, size, state, stage,
             requested_by)
        values (:tenant, :id, :document, :source, :owner, :fingerprint, :blob, :media_type, :size, 'pending', 'queued',
                :requester)
        returning {TOLD}
    ), recorded as ({NEW_RECORD}), adopted as (
        update documents set newest_version_id = :id, same_as = :same_as,
            title = case when deleted_at is null then title else :title end,
            created_at = case when deleted_at is null then created_at else now() end, deleted_at = null,
            updated_at = now()
        where tenant_id = :tenant and id = :document
    )
    select recorded.number, added.* from recorded, added
""")
_PIN = Statement("""
    select id from document_versions where tenant_id = :tenant and id = any (:versions) for key share
""")
_HAS_BYTES = Statement("""
    select 1 from document_versions where tenant_id = :tenant and id = :version and fingerprint = :fingerprint
""")
_NO_TWIN = Statement("update documents set same_as = null where tenant_id = :tenant and same_as = :id")
_SUPERSEDED = Statement("""
    select v.id from document_versions v join documents d on d.tenant_id = v.tenant_id and d.id = v.document_id
    where v.tenant_id = :tenant and v.document_id = :document
      and v.id is distinct from d.newest_version_id and v.id is distinct from d.live_version_id
""")
_LOAD = Statement("""
    select v.id, v.document_id, v.source_id, v.owner_id, d.key, v.blob_key, v.media_type, v.size, v.fingerprint,
           s.chunk_size, s.chunk_overlap
    from document_versions v
    join documents d on d.tenant_id = v.tenant_id and d.id = v.document_id and d.newest_version_id = v.id
    join sources s on s.tenant_id = v.tenant_id and s.id = v.source_id
    where v.tenant_id = :tenant and v.id = :id and d.deleted_at is null and s.deleted_at is null
""")
_STAGE = Statement(f"""
    update document_versions set state = 'processing', stage = :stage, progress = :progress, attempts = :attempts,
        updated_at = now(), failure_code = null, failure_detail = null, failure_retryable = null
    where tenant_id = :tenant and id = :id returning {TOLD}
""")
_LIVE = Statement(f"""
    with ready as (
        update document_versions set state = 'ready', stage = 'commit', progress = 100, attempts = :attempts,
            chunks = :chunks, updated_at = now(), failure_code = null, failure_detail = null, failure_retryable = null
        where tenant_id = :tenant and id = :id returning {TOLD}
    ), swapped as (
        update documents set live_version_id = :id, title = :title, updated_at = now()
        where tenant_id = :tenant and id = :document
    ), turned as ({TURN})
    select v.id from document_versions v join documents d on d.tenant_id = v.tenant_id and d.id = v.document_id
    where v.tenant_id = :tenant and v.document_id = :document
      and v.id is distinct from d.newest_version_id and v.id <> :id
""")
_FAIL = Statement(f"""
    update document_versions set state = :state, stage = :stage, attempts = :attempts, updated_at = now(),
        failure_code = :code, failure_detail = :detail, failure_retryable = :retryable
    where tenant_id = :tenant and id = :id returning {TOLD}
""")
_CRASHED = Statement("""
    update document_versions set crashes = crashes + 1 where tenant_id = :tenant and id = :id returning crashes
""")
_CRASHES = Statement("select crashes from document_versions where tenant_id = :tenant and id = :id")
_NO_CRASH = Statement("""
    update document_versions set crashes = greatest(crashes - 1, 0) where tenant_id = :tenant and id = :id
""")
_PUT_BACK = Statement(f"""
    update document_versions set state = 'pending', stage = 'queued', attempts = greatest(:attempts - 1, 0),
        updated_at = now()
    where tenant_id = :tenant and id = :id and state = 'processing' returning {TOLD}
""")


@dataclass(frozen=True, slots=True)
class Arrival:
    """Bytes that came for a key, kept as a blob, their type judged."""

    key: str
    blob: Blob
    media_type: str


@dataclass(frozen=True, slots=True)
class Registered:
    """What became of an arrival. `blob_kept` is False when nobody needs the bytes; `known` are those that it has.

    `lacks` is the key of a document whose bytes these are, and which has lost its own: `mend` gives it these.
    `superseded` are the document's versions that nobody will read any more.
    """

    outcome: Outcome
    document: DocumentId
    same_as: DocumentId | None = None
    version: VersionId | None = None
    known: Kept | None = None
    lacks: str | None = None
    superseded: Sequence[VersionId] = ()

    @property
    def blob_kept(self) -> bool:
        return self.version is not None


async def register(tx: Transaction, source: Source, arrival: Arrival, *, requester: UserId | None = None) -> Registered:
    """The document and its new version, whose job is demanded last. Nothing is done for bytes that are known.

    The work is done as long as the requester is an active member; without one the tenant itself has asked.
    Raises NotFound when the source was deleted meanwhile.
    """
    document = document_id(source.id, arrival.key)
    former = await _locked(tx, source, document, arrival.key)
    newest = former["newest_version_id"] if former and former["deleted_at"] is None else None
    if newest and (known := await unchanged_one(tx, document, arrival.blob.sha256)):
        return Registered(Outcome.UNCHANGED, document, known=known)
    # a document that has these bytes and lost them wants them back: that is no twin
    was_its_own = newest and await tx.value(_HAS_BYTES, version=newest, fingerprint=arrival.blob.sha256)
    rejects = source.duplicates is Duplicates.REJECT and not was_its_own
    if rejects:
        await tx.run(_ONE_AT_A_TIME, fingerprint=_lock_of(source.id, arrival.blob.sha256))
    twin = await twins.find(tx, source.id, document, fingerprint=arrival.blob.sha256, lacking_first=rejects)
    if twin and rejects:
        await tx.run(_FORGET_NEW, id=document)
        known, lacks = (None, twin.key) if twin.lacks else (twin.kept, None)
        return Registered(Outcome.DUPLICATE, twin.document, twin.document, known=known, lacks=lacks)
    if newest:
        await tx.run(_NO_TWIN, id=document)
    same_as = None if twin is None else twin.document
    version = await _adopt(tx, source, arrival, same_as, requester=requester)
    outcome, gone = Outcome.REPLACED if newest else Outcome.CREATED, await superseded(tx, document) if former else ()
    return Registered(outcome, document, same_as, version, superseded=gone)


async def _locked(tx: Transaction, source: Source, document: DocumentId, key: str) -> asyncpg.Record | None:
    """Locks the document and its twins: the document as it was, None when it has just been made.

    Raises NotFound when the source is gone.
    """
    if await tx.value(_OPEN, id=document, source=source.id, key=key, title=title_from_key(key)):
        return None
    rows = await tx.rows(_LOCK, id=document)
    former = next((row for row in rows if row["id"] == document), None)
    if former is None:
        raise NotFound
    return former


async def mend(
    tx: Transaction, source: Source, arrival: Arrival, *, requester: UserId | None = None
) -> VersionId | None:
    """A new version of a document that has lost these bytes; None when it is not so, or not any more.

    Not in the transaction that registered: it locks another document.
    """
    document = document_id(source.id, arrival.key)
    if not await tx.value(_HOLD_SOURCE, source=source.id):
        return None
    await tx.rows(_LOCK, id=document)
    found = await twins.lacking(tx, document, fingerprint=arrival.blob.sha256)
    if found is None:
        return None
    arrival = replace(arrival, media_type=found.media_type)
    return await _adopt(tx, source, arrival, found.same_as, requester=requester)


async def unchanged_one(tx: Transaction, document: DocumentId, fingerprint: bytes) -> Kept | None:
    """Where the bytes lie, if the document's newest version has these; then the delivery is counted."""
    row = await tx.row(_DELIVERED_AGAIN, id=document, fingerprint=fingerprint)
    return Kept(VersionId(row["id"]), row["blob_key"]) if row else None


async def unchanged(tx: Transaction, fingerprints: Mapping[DocumentId, bytes]) -> dict[DocumentId, Kept]:
    """Those whose newest version has these bytes, as `unchanged_one` for many, in one statement."""
    rows = await tx.rows(_ALL_DELIVERED_AGAIN, ids=list(fingerprints), fingerprints=list(fingerprints.values()))
    return {DocumentId(row["id"]): Kept(VersionId(row["version_id"]), row["blob_key"]) for row in rows}


async def _adopt(
    tx: Transaction, source: Source, arrival: Arrival, twin: DocumentId | None, *, requester: UserId | None
) -> VersionId:
    document, version = document_id(source.id, arrival.key), VersionId(new_id())
    number = await tx.value(
        _ADOPT,
        id=version,
        document=document,
        source=source.id,
        owner=source.owner,
        fingerprint=arrival.blob.sha256,
        blob=arrival.blob.key,
        media_type=arrival.media_type,
        size=arrival.blob.size,
        requester=requester,
        same_as=twin,
        title=title_from_key(arrival.key),
    )
    await records.prune(tx, document, newest=number)
    return version


def _lock_of(source: SourceId, fingerprint: bytes) -> int:
    return int.from_bytes(sha256(source.bytes + fingerprint).digest()[:8], signed=True)


async def demand(tx: Transaction, source: Source, version: VersionId, size: int) -> None:
    """The version's job. Asked for last in a transaction: it holds the tenant's place in the queue until the commit."""
    await jobs.enqueue(tx, JobKind.INGEST, version, owner=source.owner, cost=jobs.cost_of(size))


async def lock(tx: Transaction, document: DocumentId) -> None:
    """Whatever changes a document takes its row first, then its jobs: in one order, so that none waits for ever."""
    await tx.value(_LOCK_ROW, id=document)


_LOCK_ROW = Statement("select 1 from documents where tenant_id = :tenant and id = :id for update")


async def named_blobs(tx: Transaction, blobs: Sequence[str]) -> frozenset[str]:
    """Those that a version of the tenant names, private ones included."""
    return frozenset(row["named_blobs"] for row in await tx.rows(_NAMED, blobs=list(blobs)))


_NAMED = Statement("select named_blobs(:blobs)")


async def superseded(tx: Transaction, document: DocumentId) -> list[VersionId]:
    """Versions that will never be read again: neither the newest nor the live one."""
    return [VersionId(row["id"]) for row in await tx.rows(_SUPERSEDED, document=document)]


async def load(tx: Transaction, version: VersionId) -> Version | None:
    """What the worker needs; None when the version is no longer wanted (deleted, or a newer one came)."""
    row = await tx.row(_LOAD, id=version)
    return _version(row) if row else None


async def pin(tx: Transaction, versions: Iterable[VersionId]) -> None:
    """They are there, and cannot go before the commit. Raises Conflict `not_wanted` when one has gone."""
    wanted = set(versions)
    if len(await tx.rows(_PIN, versions=sorted(wanted))) < len(wanted):
        raise Conflict("The document is no longer wanted.", code="not_wanted")


async def enter_stage(tx: Transaction, claim: Claim, stage: Stage, *, progress: int) -> None:
    """`progress` is in percent of the whole work."""
    await tx.run(_STAGE, id=claim.subject, stage=stage, progress=progress, attempts=claim.attempts)


async def make_live(tx: Transaction, version: Version, *, title: str, chunks: int, attempts: int) -> list[VersionId]:
    """The swap: at the commit readers see the new version instead of the old one. Those that nobody will read again."""
    rows = await tx.rows(_LIVE, id=version.id, document=version.document, title=title, chunks=chunks, attempts=attempts)
    return [VersionId(row["id"]) for row in rows]


async def wait_again(tx: Transaction, claim: Claim, failure: Failure) -> None:
    """Back to pending, with the reason of the last try to be seen."""
    await _set_failure(tx, claim, failure, "pending")


async def fail(tx: Transaction, claim: Claim, failure: Failure) -> None:
    """A dead letter: stage, reason, attempt and whether trying again may help."""
    await _set_failure(tx, claim, failure, "failed")


async def count_crash(tx: Transaction, claim: Claim) -> int:
    """How often the work on this version has ended in a crash by now, this time included. Retries do not forget it."""
    return int(await tx.value(_CRASHED, id=claim.subject) or 0)


async def crashes(tx: Transaction, claim: Claim) -> int:
    return int(await tx.value(_CRASHES, id=claim.subject) or 0)


async def take_back_crash(tx: Transaction, claim: Claim) -> None:
    """One that was counted before it could happen, and did not."""
    await tx.run(_NO_CRASH, id=claim.subject)


async def put_back(tx: Transaction, claim: Claim) -> None:
    """Back to pending as if this attempt had not been."""
    await tx.run(_PUT_BACK, id=claim.subject, attempts=claim.attempts)


async def _set_failure(tx: Transaction, claim: Claim, failure: Failure, state: str) -> None:
    await tx.run(
        _FAIL,
        id=claim.subject,
        state=state,
        stage=failure.stage,
        attempts=claim.attempts,
        code=failure.code,
        detail=failure.detail,
        retryable=failure.retryable,
    )


async def exists(tx: Transaction, document: DocumentId) -> bool:
    return bool(await tx.value(_EXISTS, id=document))


_EXISTS = Statement("select 1 from documents where tenant_id = :tenant and id = :id and deleted_at is null")


def _version(row: Any) -> Version:
    return Version(
        id=VersionId(row["id"]),
        document=DocumentId(row["document_id"]),
        source=SourceId(row["source_id"]),
        owner=row["owner_id"] and UserId(row["owner_id"]),
        key=row["key"],
        blob_key=row["blob_key"],
        media_type=row["media_type"],
        size=row["size"],
        fingerprint=row["fingerprint"],
        rules=ChunkRules(row["chunk_size"], row["chunk_overlap"]),
    )
