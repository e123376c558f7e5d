"""Trying again what failed: one document, or many."""

from carrel.domain.access import Principal, enter
from carrel.domain.audit import Act
from carrel.domain.ids import DocumentId
from carrel.domain.library import Document
from carrel.domain.rights import Permission
from carrel.store import audit, documents, retries, sources
from carrel.store.retries import Redrive
from carrel.store.transaction import Database

__all__ = ["Redrive", "Retries"]


class Retries:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def one(self, principal: Principal, document: DocumentId, *, force: bool = False) -> Document:
        """Raises Denied, NotFound, Conflict `not_failed`, and `quarantined` unless it is forced."""
        async with self._database.transaction(enter(principal, Permission.INGEST)) as tx:
            await retries.retry(tx, document, requester=principal.person, force=force)
            await audit.record(tx, Act.DOCUMENT_RETRIED, document)
            return await documents.get(tx, document)

    async def many(self, principal: Principal, wish: Redrive) -> int:
        """How many went back to the queue. Raises Denied, NotFound for a source or document that is not there."""
        async with self._database.transaction(enter(principal, Permission.INGEST)) as tx:
            if wish.source is not None:
                await sources.find(tx, wish.source)
            redriven = await retries.redrive(tx, wish, requester=principal.person)
            if redriven:
                await audit.record(tx, Act.DOCUMENTS_REDRIVEN, wish.source, facts={"documents": redriven})
            return redriven
