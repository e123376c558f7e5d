"""Uploads as other journeys need them: a document's bytes, for a grant that they hold already."""

from collections.abc import AsyncIterator

from carrel.domain.access import TenantGrant
from carrel.domain.errors import Unavailable
from carrel.domain.ids import DocumentId
from carrel.domain.library import Source
from carrel.ingest.upload import Dock, Uploads


class UploadIntake:
    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads

    async def bring(
        self, grant: TenantGrant, source: Source, key: str, content: AsyncIterator[bytes], *, media_type: str
    ) -> DocumentId:
        delivery = await self._uploads.deliver(Dock(grant, source), key, content, declared=media_type)
        if delivery.document is None:
            raise Unavailable("The bytes were taken, and no document came of them.")
        return delivery.document
