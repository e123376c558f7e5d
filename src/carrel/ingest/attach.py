"""Attaching: files that were brought before become documents of a source, each under its own name."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeVar

from carrel.domain.access import Principal, enter
from carrel.domain.errors import Conflict, Invalid, NotFound, Throttled
from carrel.domain.files import Attachment, Batch, File, Part
from carrel.domain.ids import DocumentId, FileId, SourceId, document_id
from carrel.domain.library import Document, Outcome
from carrel.domain.rights import Permission
from carrel.ingest.upload import Dock, Uploads
from carrel.ports.blobs import Blobs
from carrel.store import documents, erasure, files, idempotency
from carrel.store.idempotency import Memo
from carrel.store.transaction import Database

__all__ = ["MOST_FILES", "Attaching"]

MOST_FILES: Final = 500
Result = TypeVar("Result")


class Attaching:
    def __init__(self, database: Database, blobs: Blobs, uploads: Uploads) -> None:
        self._database = database
        self._blobs = blobs
        self._uploads = uploads

    async def attach(
        self, principal: Principal, source: SourceId, wish: Attachment, *, memo: Memo[Document] | None = None
    ) -> Document:
        """The document, whose work has begun. A file that is attached already stays as it is.

        Raises Denied, NotFound for the source or the file, Invalid (also Unsupported) for what cannot be a document,
        Throttled, Conflict `duplicate_document` where the source takes no bytes twice.
        """
        async with self._docked(principal, source, [wish]) as dock, idempotency.held(self._database, dock.grant, memo):
            made = await self._made(dock, wish)
            async with self._database.transaction(dock.grant) as tx:
                document = await documents.get(tx, made)
                await idempotency.keep(tx, memo, document)
                return document

    async def attach_all(
        self, principal: Principal, source: SourceId, wishes: Sequence[Attachment], *, memo: Memo[Batch] | None = None
    ) -> Batch:
        """Each as `attach` does; what cannot be a document is a part with its problem, and the others are taken.

        Raises Denied, NotFound for the source or any of the files: then nothing was attached; Throttled when there is
        room for none of them.
        """
        async with self._docked(principal, source, wishes) as dock, idempotency.held(self._database, dock.grant, memo):
            parts = [await self._part(dock, wish) for wish in wishes]
            async with self._database.transaction(dock.grant) as tx:
                batch = await files.add_batch(tx, dock.source, parts)
                await idempotency.keep(tx, memo, batch)
                return batch

    async def demand(self, principal: Principal, wished: Sequence[FileId]) -> None:
        """Before a source is made for them. Raises Denied, NotFound for any that is not there."""
        async with self._database.transaction(enter(principal, Permission.INGEST)) as tx:
            for file in wished:
                await files.get(tx, file)

    @asynccontextmanager
    async def _docked(
        self, principal: Principal, source: SourceId, wishes: Sequence[Attachment]
    ) -> AsyncGenerator[Dock]:
        async with self._database.transaction(enter(principal, Permission.INGEST)) as tx:
            size = sum([(await files.get(tx, wish.file)).size for wish in wishes])
        async with self._uploads.docked(principal, source, expects=size) as dock:
            yield dock

    async def _part(self, dock: Dock, wish: Attachment) -> Part:
        try:
            return Part(wish.file, await self._made(dock, wish))
        except (Invalid, Conflict, Throttled) as problem:
            return Part(wish.file, code=problem.code, detail=problem.detail)

    async def _made(self, dock: Dock, wish: Attachment) -> DocumentId:
        async with self._database.transaction(dock.grant) as tx:
            file, key = await files.take_place(tx, wish.file, dock.source)
        document = document_id(dock.source.id, key)
        try:
            await self._bring(dock, file, key)
        except BaseException:
            async with self._database.transaction(dock.grant) as tx:
                await files.leave_place(tx, wish.file, document)
            raise
        if not await self._settled(dock, wish, document):
            raise NotFound
        return document

    async def _settled(self, dock: Dock, wish: Attachment, document: DocumentId) -> bool:
        """False when the file was deleted meanwhile: then what was made of it goes too."""
        async with self._database.transaction(dock.grant) as tx:
            is_there = await files.is_at(tx, wish.file, dock.source.id)
            if not is_there:
                with suppress(NotFound):
                    await erasure.erase(tx, document)
            elif wish.attributes is not None:
                await documents.describe(tx, document, wish.attributes)
        return is_there

    async def _bring(self, dock: Dock, file: File, key: str) -> None:
        content = self._blobs.read(file.blob_key)
        delivery = await self._uploads.deliver(dock, key, content, declared=file.media_type)
        if delivery.outcome is Outcome.DUPLICATE:
            raise Conflict("This source has these bytes already, and takes none twice.", code="duplicate_document")
