"""Forgetting a document or a source: invisible at once, then purged everywhere and verified."""

from collections.abc import Collection
from typing import Final

import structlog

from carrel.domain.access import Principal, TenantGrant, enter, enter_unlimited
from carrel.domain.audit import Act
from carrel.domain.errors import NotFound, Unavailable
from carrel.domain.ids import DocumentId, SourceId
from carrel.domain.rights import Permission
from carrel.ingest.pipeline import Work
from carrel.ports.blobs import Blobs
from carrel.ports.lexical import LexicalIndexes
from carrel.ports.vectors import VectorIndexes
from carrel.store import audit, documents, erasure, jobs, sources
from carrel.store.erasure import Receipt
from carrel.store.transaction import Database

log = structlog.get_logger(__name__)

_AT_ONCE: Final = 50


class Forgetting:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def document(self, principal: Principal, document: DocumentId) -> None:
        """Raises Denied, NotFound."""
        async with self._database.transaction(enter(principal, Permission.INGEST)) as tx:
            await erasure.erase(tx, document)
            await audit.record(tx, Act.DOCUMENT_DELETED, document)

    async def many(self, principal: Principal, wanted: Collection[DocumentId]) -> int:
        """How many went; each is gone at once, one after the other. Raises Denied, NotFound when one is not there."""
        grant = enter(principal, Permission.INGEST)
        async with self._database.transaction(grant) as tx:
            if len(await documents.many(tx, wanted)) < len(set(wanted)):
                raise NotFound
        gone, waiting = 0, sorted(set(wanted))
        for first in range(0, len(waiting), _AT_ONCE):
            async with self._database.transaction(grant, timeout=300) as tx:
                some = await erasure.erase_many(tx, waiting[first : first + _AT_ONCE])
                for document in some:
                    await audit.record(tx, Act.DOCUMENT_DELETED, document)
            gone += len(some)
        return gone

    async def source(self, principal: Principal, source: SourceId) -> None:
        """The source and every document in it; a worker empties them. Raises Denied, NotFound."""
        async with self._database.transaction(enter_unlimited(principal, Permission.CURATE), timeout=300) as tx:
            await sources.delete(tx, source)
            await erasure.hide_source(tx, source)
            await audit.record(tx, Act.SOURCE_DELETED, source)


class Purge:
    """The rest of forgetting, done by a worker: index entries and bytes."""

    def __init__(self, database: Database, blobs: Blobs, vectors: VectorIndexes, words: LexicalIndexes) -> None:
        self._database = database
        self._blobs = blobs
        self._vectors = vectors
        self._words = words

    async def run(self, work: Work) -> None:
        async with self._database.transaction(work.grant) as tx:
            receipt = await erasure.receipt(tx, work.claim.subject)
        if receipt is not None and not receipt.complete:
            await self._empty(work.grant, receipt)
        async with self._database.transaction(work.grant) as tx:
            if receipt is not None:
                _verify(await erasure.left(tx, receipt.versions))
                await erasure.complete(tx, receipt.id)
            await jobs.finish(tx, work.claim)

    async def _empty(self, grant: TenantGrant, receipt: Receipt) -> None:
        for version in receipt.versions:
            await self._vectors.of(grant).forget(version)
            await self._words.of(grant).forget(version)
        for blob in receipt.blobs:
            await self._blobs.delete(blob)
        log.info("document.purged", document=str(receipt.document), versions=len(receipt.versions))


class Emptying:
    """The documents of a source that was deleted, some at a time: no transaction is long, however many there are."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self, work: Work) -> None:
        source, emptied = SourceId(work.claim.subject), 0
        while True:
            async with self._database.transaction(work.grant, timeout=300) as tx:
                await jobs.hold(tx, work.claim)
                some = await erasure.empty_hidden(tx, source, most=_AT_ONCE)
                if not some:
                    await jobs.finish(tx, work.claim)
                    break
            emptied += some
        log.info("source.emptied", source=str(source), documents=emptied)


def _verify(left: int) -> None:
    if left:
        raise Unavailable("Something of a forgotten version is still there.", code="purge_incomplete")
