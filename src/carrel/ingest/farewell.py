"""Farewell: what a member who was removed leaves behind that nobody else can see is forgotten, as the person's own."""

import structlog

from carrel.domain.errors import NotFound
from carrel.domain.ids import SourceId, UserId
from carrel.ingest.pipeline import Work
from carrel.ports.blobs import Blobs
from carrel.store import erasure, files, jobs, members, quotas, sources
from carrel.store.transaction import Database

log = structlog.get_logger(__name__)


class Farewell:
    """Private sources with their documents, files, and chats. What came after the person joined again stays."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs

    async def run(self, work: Work) -> None:
        """Each source in a transaction of its own: it may be large, and what is done need not be done again."""
        person = UserId(work.claim.subject)
        async with self._database.transaction(work.grant) as tx:
            left = await members.private_sources_left(tx, person)
        for source in left:
            await self._forget(work, source)
        async with self._database.transaction(work.grant) as tx:
            chats = await members.forget_chats(tx, person)
            brought = await files.delete_left(tx, person)
            await quotas.free(tx, documents=0, size=sum(size for _, size in brought))
            await jobs.finish(tx, work.claim)
        for blob, _ in brought:
            await self._blobs.delete(blob)
        log.info("member.forgotten", sources=len(left), chats=chats)

    async def _forget(self, work: Work, source: SourceId) -> None:
        async with self._database.transaction(work.grant, timeout=300) as tx:
            await jobs.hold(tx, work.claim)
            try:
                await sources.delete(tx, source)
            except NotFound:  # it went meanwhile
                return
            await erasure.hide_source(tx, source)
