"""Presence: whether bytes that are known are still there. Those that are not are noted, so that they may come again."""

from collections.abc import Mapping

import structlog

from carrel.domain.access import TenantGrant
from carrel.domain.ids import DocumentId
from carrel.domain.library import ContentFault
from carrel.ports.blobs import Blobs
from carrel.store import contents
from carrel.store.contents import Kept
from carrel.store.transaction import Database

log = structlog.get_logger(__name__)


class Presence:
    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs

    async def lost(self, grant: TenantGrant, kept: Mapping[DocumentId, Kept]) -> set[DocumentId]:
        """Those whose bytes have gone from the store. Raises Unavailable."""
        missing = await self._blobs.missing([one.blob for one in kept.values()])
        lost = {document: one for document, one in kept.items() if one.blob in missing}
        if lost:
            async with self._database.transaction(grant) as tx:
                for document, one in lost.items():
                    await contents.note(tx, one.version, ContentFault.MISSING)
                    log.warning("content.missing", document=str(document), version=str(one.version))
        return set(lost)
