"""Taking what was seen at a source's place: what is new or changed becomes a document, what has gone is forgotten.

What is remembered of a thing commits together with its document. Several may look at the same thing at the same time:
whoever was slower looks again, so an older sight never overwrites a newer one.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never
from uuid import UUID

import structlog

from carrel.domain.access import TenantGrant
from carrel.domain.audit import Act
from carrel.domain.errors import Invalid, NotFound, Refusal, Throttled, Unavailable
from carrel.domain.ids import DocumentId, document_id
from carrel.domain.jobs import Claim
from carrel.domain.keys import place_key
from carrel.domain.library import Outcome, Source
from carrel.domain.origins import Reason
from carrel.domain.quotas import NO_QUOTAS, Quotas
from carrel.ingest.dock import Arrival, Dock, mend, register
from carrel.ingest.upload import SMALL, Held, Uploads
from carrel.ports.blobs import Blobs
from carrel.ports.origins import Failed, Found, Gone, Known, Origin, Same, Sight
from carrel.store import audit, erasure, jobs, source_items, sources, versions
from carrel.store.source_items import Seen, Stale
from carrel.store.transaction import Database, Transaction

__all__ = ["Taken", "Taking", "Visit"]

log = structlog.get_logger(__name__)

_LOOKS: Final = 5
_HEAD: Final = 4096


class Taken(StrEnum):
    """What became of a sight."""

    CREATED = "created"
    REPLACED = "replaced"
    UNCHANGED = "unchanged"
    DELETED = "deleted"
    FAILED = "failed"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody at a source's place: a run with its job, which is the fence, or a listener without."""

    grant: TenantGrant
    source: Source
    origin: Origin
    run: UUID | None = None
    claim: Claim | None = None


class _ItemRefused(Exception):  # noqa: N818 - a refusal that belongs to one thing
    """The place could not give this thing, whatever else it can give."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


class Taking:
    """`quotas` are those of tenants that have none of their own."""

    def __init__(self, database: Database, blobs: Blobs, uploads: Uploads, *, quotas: Quotas = NO_QUOTAS) -> None:
        self._database = database
        self._blobs = blobs
        self._uploads = uploads
        self._quotas = quotas

    def known(self, visit: Visit) -> Known:
        async def tags(keys: Sequence[str]) -> Mapping[str, str]:
            async with self._database.transaction(visit.grant) as tx:
                return await source_items.tags(tx, visit.source.id, keys)

        return tags

    async def take(self, visit: Visit, sight: Sight) -> Taken:
        """What cannot be had or taken is an outcome, kept with its reason.

        Raises LeaseLost, NotFound when the source is gone or paused, Unavailable, and what `look` raises.
        """
        for _ in range(_LOOKS):
            try:
                return await self._take(visit, sight)
            except Stale:
                sight = await visit.origin.look(sight.key, self.known(visit))
        raise Unavailable("This changes faster than it can be read.", code="item_changed")

    async def _take(self, visit: Visit, sight: Sight) -> Taken:
        match sight:
            case Same():
                return await self._mark(visit, sight)
            case Failed():
                return await self._fail(visit, sight.key, sight.refusal)
            case Gone():
                return await self._forget(visit, sight.key)
            case Found():
                return await self._bring(visit, sight)
            case _:
                assert_never(sight)

    async def _mark(self, visit: Visit, sight: Same) -> Taken:
        """Whoever was faster may have begun before this run, and not have told it."""
        if visit.run is not None:
            async with self._transaction(visit) as tx:
                await source_items.mark_seen(tx, visit.source.id, [sight.key], run=visit.run)
        return Taken.UNCHANGED

    async def _bring(self, visit: Visit, sight: Found) -> Taken:
        async with self._database.transaction(visit.grant) as tx:
            known = await source_items.find(tx, visit.source.id, sight.key)
        dock = Dock(visit.grant, visit.source, is_place=True)
        try:
            brought = await self._read(dock, sight)
            if isinstance(brought, Held):
                if await self._is_unchanged(visit, sight, brought, known):
                    return Taken.UNCHANGED
                (blob,) = await self._blobs.put_all(visit.grant.tenant, [brought.content])
                brought = Arrival(brought.key, blob, brought.media_type)
            return await self._register(visit, sight, brought, known)
        except _ItemRefused as refused:
            if isinstance(refused.refusal, NotFound):
                return await self._forget(visit, sight.key)
            return await self._fail(visit, sight.key, refused.refusal)
        except (Invalid, Throttled) as refusal:
            return await self._fail(visit, sight.key, refusal)

    async def _read(self, dock: Dock, sight: Found) -> Arrival | Held:
        """Judged by its first bytes before the rest is read. Raises Invalid, _ItemRefused, Unavailable."""
        content = _from_place(sight.content)
        first = await anext(content, b"")
        if first:
            self._uploads.judge(sight.key, sight.media_type, first[:_HEAD])
        return await self._uploads.take(
            dock, sight.key, _chained(first, content), declared=sight.media_type, room=SMALL
        )

    async def _is_unchanged(self, visit: Visit, sight: Found, held: Held, known: source_items.Known) -> bool:
        document = document_id(visit.source.id, held.key)
        async with self._transaction(visit) as tx:
            if await versions.unchanged_one(tx, document, held.sha256) is None:
                return False
            seen = Seen(sight.key, document, sight.tag, held.sha256)
            await source_items.remember(tx, visit.source, seen, known, run=visit.run)
            return True

    async def _register(self, visit: Visit, sight: Found, arrival: Arrival, known: source_items.Known) -> Taken:
        """When it is refused, nothing is kept; when the connection ends, what nobody names is swept later."""
        document, dock = document_id(visit.source.id, arrival.key), Dock(visit.grant, visit.source)
        try:
            async with self._transaction(visit) as tx:
                registered = await register(tx, dock, arrival, quotas=self._quotas)
                # a twin that was refused is read again the next time: the other one may be gone by then
                tag = None if registered.outcome is Outcome.DUPLICATE else sight.tag
                seen = Seen(sight.key, document, tag, arrival.blob.sha256)
                await source_items.remember(tx, visit.source, seen, known, run=visit.run)
            if registered.lacks is not None:
                async with self._transaction(visit) as tx:
                    registered = await mend(tx, dock, arrival, registered, quotas=self._quotas)
        except Refusal as refusal:
            if not refusal.retryable or isinstance(refusal, Throttled):
                await self._blobs.delete(arrival.blob.key)
            raise
        if not registered.blob_kept:
            await self._blobs.delete(arrival.blob.key)
        match registered.outcome:
            case Outcome.CREATED:
                return Taken.CREATED
            case Outcome.REPLACED:
                return Taken.REPLACED
            case _:
                return Taken.UNCHANGED

    async def _fail(self, visit: Visit, key: str, refusal: Refusal) -> Taken:
        reason, document = Reason(refusal.code, refusal.detail), _document(visit.source, key)
        async with self._transaction(visit) as tx:
            await source_items.fail(tx, visit.source, key, reason, document=document, run=visit.run)
        log.info("item.failed", source=str(visit.source.id), code=refusal.code)
        return Taken.FAILED

    async def _forget(self, visit: Visit, key: str) -> Taken:
        async with self._database.transaction(visit.grant) as tx:
            known = await source_items.find(tx, visit.source.id, key)
        if not known.revision:
            return Taken.ABSENT
        async with self._transaction(visit) as tx:
            if known.document is not None:
                await _erase(tx, visit.source, [known.document])
            await source_items.drop(tx, visit.source.id, key, known)
        return Taken.DELETED

    @asynccontextmanager
    async def _transaction(self, visit: Visit) -> AsyncIterator[Transaction]:
        """At its begin the source is there, at its end the job is still ours.

        The job's row is locked last: whoever asks for a job locks the tenant's place in the queue before it.
        Raises NotFound, Conflict `place_changed`, LeaseLost.
        """
        async with self._database.transaction(visit.grant, timeout=120) as tx:
            await sources.stand(tx, visit.source)
            yield tx
            if visit.claim is not None:
                await jobs.hold(tx, visit.claim)


async def _erase(tx: Transaction, source: Source, documents: Sequence[DocumentId]) -> None:
    """Those of them that are there: some may have been deleted by hand."""
    gone = await erasure.lock(tx, documents)
    if gone:
        await erasure.erase_locked(tx, gone)
        await audit.record(tx, Act.DOCUMENTS_DISAPPEARED, source.id, facts={"documents": len(gone)})


def _document(source: Source, key: str) -> DocumentId | None:
    with suppress(Invalid):
        return document_id(source.id, place_key(key))
    return None


async def _from_place(content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What the place refuses is told apart from what our own stores refuse."""
    try:
        async for piece in content:
            yield piece
    except Refusal as refusal:
        raise _ItemRefused(refusal) from refusal


async def _chained(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
