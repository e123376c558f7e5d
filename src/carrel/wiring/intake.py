"""Uploads as other journeys need them: a document's bytes, for a grant that they hold already."""

from collections.abc import AsyncIterator

from carrel.domain.access import TenantGrant
from carrel.domain.errors import Unavailable
from carrel.domain.ids import DocumentId, FileId
from carrel.domain.library import Source
from carrel.domain.quotas import NOTHING_HELD
from carrel.ingest.upload import Dock, Uploads
from carrel.library.files import Counter, Files, NewFile


class UploadIntake:
    def __init__(self, uploads: Uploads, files: Files) -> None:
        self._uploads = uploads
        self._files = files

    async def bring(
        self, grant: TenantGrant, source: Source, key: str, content: AsyncIterator[bytes], *, media_type: str
    ) -> DocumentId:
        delivery = await self._uploads.deliver(Dock(grant, source, is_place=True), key, content, declared=media_type)
        if delivery.document is None:
            raise Unavailable("The bytes were taken, and no document came of them.")
        return delivery.document

    async def keep(
        self, grant: TenantGrant, name: str, content: AsyncIterator[bytes], *, purpose: str, media_type: str | None
    ) -> FileId:
        counter = Counter(grant, NOTHING_HELD)
        blob = await self._files.stage(counter, content)
        return (await self._files.keep(counter, NewFile(name, purpose, media_type, blob))).id
