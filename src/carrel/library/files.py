"""Files: brought, looked at, handed out, deleted. What is made of them by attaching belongs to ingestion."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final

from carrel.domain.access import Principal, TenantGrant, enter
from carrel.domain.audit import Act
from carrel.domain.errors import Denied, Invalid, NotFound
from carrel.domain.files import Batch, File
from carrel.domain.ids import BatchId, FileId, SourceId
from carrel.domain.keys import document_key
from carrel.domain.library import Blob
from carrel.domain.quotas import NO_QUOTAS, Hold, Quotas
from carrel.domain.rights import Permission
from carrel.library.documents import Download
from carrel.ports.blobs import Blobs
from carrel.store import audit, erasure, files, idempotency, quotas, sources
from carrel.store.files import NewFile
from carrel.store.idempotency import Memo
from carrel.store.quotas import Wanted
from carrel.store.steps import Step, Walked
from carrel.store.transaction import Database, Transaction

__all__ = ["MOST_BYTES", "Counter", "Files", "NewFile"]

MOST_BYTES: Final = 50 * 1024 * 1024
_LONGEST_NAME: Final = 255  # bytes
_SMALLEST: Final = 1


@dataclass(frozen=True, slots=True)
class Counter:
    """Where somebody brings a file, with room for it."""

    grant: TenantGrant
    hold: Hold


class Files:
    """A file is private to who brought it; what was attached is its source's. `quotas` are those of tenants without."""

    def __init__(self, database: Database, blobs: Blobs, *, quotas: Quotas = NO_QUOTAS) -> None:
        self._database = database
        self._blobs = blobs
        self._quotas = quotas

    @asynccontextmanager
    async def counter(self, principal: Principal, *, expects: int | None) -> AsyncIterator[Counter]:
        """Before a byte is read; what was not needed of the room is given back. Raises Denied, Throttled."""
        grant = enter(principal, Permission.INGEST)
        if grant.user is None:
            raise Denied("Files belong to somebody: use a key of the tenant.", code="user_required")
        room = MOST_BYTES if expects is None else min(expects, MOST_BYTES)
        async with self._database.transaction(grant) as tx:
            hold = (await quotas.reserve(tx, Wanted(bytes=room), self._quotas)).hold
        try:
            yield Counter(grant, hold)
        finally:
            if hold.id is not None:
                async with self._database.transaction(grant) as tx:
                    await quotas.release(tx, hold)

    async def stage(self, counter: Counter, content: AsyncIterator[bytes]) -> Blob:
        """The bytes, kept, which are no file yet: `keep` or `drop` them. Raises TooLarge."""
        return await self._blobs.put(counter.grant.tenant, content, limit=MOST_BYTES)

    async def drop(self, blob: Blob) -> None:
        await self._blobs.delete(blob.key)

    async def keep(self, counter: Counter, new: NewFile, *, memo: Memo[File] | None = None) -> File:
        """Raises Invalid `invalid_key`, `empty_document`, Throttled, Replayed: then the bytes are gone again."""

        async def kept(tx: Transaction) -> File:
            added = await files.add(tx, replace(new, name=document_key(new.name)))
            await audit.record(tx, Act.FILE_BROUGHT, added.id)
            await quotas.charge(tx, counter.hold, documents=0, size=new.blob.size, defaults=self._quotas)
            return added

        try:
            _judge(new)
            async with self._database.transaction(counter.grant) as tx:
                return await idempotency.once(tx, memo, lambda: kept(tx))
        except BaseException:
            await self.drop(new.blob)
            raise

    async def get(self, principal: Principal, file: FileId) -> File:
        """Raises Denied, NotFound."""
        async with self._database.transaction(enter(principal, Permission.METADATA)) as tx:
            return await files.get(tx, file)

    async def walk(self, principal: Principal, step: Step, *, purpose: str | None = None) -> Walked[File]:
        """One's own. Raises Denied."""
        async with self._database.transaction(enter(principal, Permission.METADATA)) as tx:
            return await files.walk(tx, step, purpose=purpose)

    async def download(self, principal: Principal, file: FileId) -> Download:
        """Raises Denied (it is content: the scope `search` is needed), NotFound."""
        async with self._database.transaction(enter(principal, Permission.SEARCH)) as tx:
            found = await files.get(tx, file)
        media_type = found.media_type or "application/octet-stream"
        return Download(found.name, media_type, found.size, self._blobs.read(found.blob_key))

    async def delete(self, principal: Principal, file: FileId) -> None:
        """The file, and every document that was made of it, as those are forgotten. Raises Denied, NotFound."""
        async with self._database.transaction(enter(principal, Permission.INGEST), timeout=300) as tx:
            found, made = await files.delete(tx, file)
            await quotas.free(tx, documents=0, size=found.size)
            for document in made:
                with suppress(NotFound):  # nothing had come to its place yet
                    await erasure.erase(tx, document)
            await audit.record(tx, Act.FILE_DELETED, file, facts={"documents": len(made)})
        await self._blobs.delete(found.blob_key)

    async def batch(self, principal: Principal, source: SourceId, batch: BatchId) -> Batch:
        """Raises Denied, NotFound."""
        async with self._database.transaction(enter(principal, Permission.METADATA)) as tx:
            await sources.find(tx, source)
            return await files.get_batch(tx, source, batch)


def _judge(new: NewFile) -> None:
    document_key(new.name)
    if len(new.name.encode()) > _LONGEST_NAME:
        raise Invalid(f"A file's name has at most {_LONGEST_NAME} bytes.", code="invalid_key", field="file")
    if new.blob.size < _SMALLEST:
        raise Invalid("The file is empty.", code="empty_document", field="file")
