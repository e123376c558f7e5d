"""Upload: bytes stream to the blob store, hashed and counted; the document and its job commit together."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from carrel.domain.access import Permission, Principal, TenantGrant, enter
from carrel.domain.errors import Invalid, Refusal, Unavailable
from carrel.domain.ids import DocumentId, SourceId, VersionId
from carrel.domain.keys import document_key
from carrel.domain.library import Document, DocumentStatus, Outcome, Source
from carrel.ports.blobs import Blob, Blobs
from carrel.store import documents, erasure, sources, versions
from carrel.store.transaction import Database, Transaction
from carrel.store.versions import Arrival, Registered

JudgeType = Callable[[str, str | None, bytes], str]

MOST_BYTES: Final = 50 * 1024 * 1024
_FIRST_LOOK: Final = 0.01
_SLOWEST_LOOK: Final = 0.25


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one file. `problem` is there when it was rejected."""

    key: str
    outcome: Outcome
    document: DocumentId | None = None
    version: VersionId | None = None
    same_as: DocumentId | None = None
    problem: Refusal | None = None
    sha256: bytes = b""


@dataclass(frozen=True, slots=True)
class Dock:
    """Where a principal may deliver: one source, found under its grant."""

    grant: TenantGrant
    source: Source


class Uploads:
    """`judge_type(key, declared media type, first bytes)` gives the media type or raises Unsupported."""

    def __init__(self, database: Database, blobs: Blobs, *, judge_type: JudgeType) -> None:
        self._database = database
        self._blobs = blobs
        self._judge_type = judge_type

    async def dock(self, principal: Principal, source: SourceId) -> Dock:
        """Before any byte is read. Raises Denied, NotFound."""
        grant = enter(principal, Permission.INGEST)
        async with self._database.transaction(grant) as tx:
            return Dock(grant, await sources.get(tx, source))

    async def deliver(
        self, dock: Dock, name: str, content: AsyncIterator[bytes], *, declared: str | None, limit: int = MOST_BYTES
    ) -> Delivery:
        """Raises Invalid (also TooLarge, Unsupported) for a file that cannot be taken; then nothing is kept."""
        key = document_key(name)
        blob = await self._blobs.put(dock.grant.tenant, content, limit=limit)
        try:
            registered = await self._register(dock, key, blob, declared)
        except BaseException:
            await self._blobs.delete(blob.key)
            raise
        if not registered.blob_kept:
            await self._blobs.delete(blob.key)
        return Delivery(
            key, registered.outcome, registered.document, registered.version, registered.same_as, sha256=blob.sha256
        )

    async def deliver_or_reject(
        self, dock: Dock, name: str, content: AsyncIterator[bytes], *, declared: str | None
    ) -> Delivery:
        """As `deliver`, but a file that cannot be taken is an outcome: `rejected`, with its problem."""
        try:
            return await self.deliver(dock, name, content, declared=declared)
        except Invalid as problem:
            return Delivery(name, Outcome.REJECTED, problem=problem)

    async def settled(self, dock: Dock, delivery: Delivery, *, seconds: float) -> Document:
        """The document once its newest version is ready or failed, or as it is when the time is over."""
        if delivery.document is None:
            raise Unavailable("There is nothing to wait for.")
        deadline = asyncio.get_running_loop().time() + seconds
        pause = _FIRST_LOOK
        while True:
            async with self._database.transaction(dock.grant) as tx:
                document = await documents.get(tx, delivery.document)
            if document.status in {DocumentStatus.READY, DocumentStatus.FAILED} or _now() + pause > deadline:
                return document
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _SLOWEST_LOOK)

    async def _register(self, dock: Dock, key: str, blob: Blob, declared: str | None) -> Registered:
        if blob.size == 0:
            raise Invalid("The file is empty.", code="empty_document", field="files")
        media_type = self._judge_type(key, declared, blob.head)
        async with self._database.transaction(dock.grant) as tx:
            return await register(tx, dock.source, Arrival(key, blob, media_type))


async def register(tx: Transaction, source: Source, arrival: Arrival) -> Registered:
    """The arrival as a version with its job; versions that it makes superfluous are given up in the same transaction."""
    registered = await versions.register(tx, source, arrival)
    if registered.blob_kept:
        await erasure.discard(tx, registered.document, await versions.superseded(tx, registered.document))
    return registered


def _now() -> float:
    return asyncio.get_running_loop().time()
