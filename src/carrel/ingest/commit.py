"""Commit: what was staged becomes documents with their jobs, many that are plainly new in one transaction."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from carrel.domain.audit import Act
from carrel.domain.errors import Refusal, Throttled
from carrel.domain.ids import DocumentId, VersionId
from carrel.domain.library import Duplicates, Outcome
from carrel.domain.quotas import NO_QUOTAS, Quotas
from carrel.ingest.dock import Dock, mend, register, register_new
from carrel.ingest.presence import Presence
from carrel.ports.blobs import Blobs
from carrel.store import audit
from carrel.store.transaction import Database, Transaction
from carrel.store.versions import Arrival, Registered

__all__ = ["Commits", "Delivery", "Report"]


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


class Report:
    """One event of the audit log for a request: in the transaction of the first thing that it changes."""

    def __init__(self, files: int = 1) -> None:
        self._files = files
        self._told = False

    async def tell(self, tx: Transaction, dock: Dock, registered: Iterable[Registered]) -> None:
        changed = next((one for one in registered if one.version is not None), None)
        if changed is None or self._told:
            return
        alone = {"document": str(changed.document)} if self._files == 1 else {}
        await audit.record(tx, Act.DOCUMENTS_DELIVERED, dock.source.id, facts={"files": self._files, **alone})

    def committed(self, registered: Iterable[Registered]) -> None:
        self._told = self._told or any(one.version is not None for one in registered)


class Commits:
    """`quotas` are those of tenants that have none of their own.

    When the connection ends, a transaction may be committed all the same: what nobody names is swept later.
    """

    def __init__(self, database: Database, blobs: Blobs, *, presence: Presence, quotas: Quotas = NO_QUOTAS) -> None:
        self._database = database
        self._blobs = blobs
        self._presence = presence
        self._quotas = quotas

    async def one(self, dock: Dock, arrival: Arrival, report: Report) -> Delivery:
        """When it is refused, nothing is kept. Raises what `register` raises."""
        try:
            registered = await self._registered(dock, arrival, report)
        except Refusal as refusal:
            if not refusal.retryable or isinstance(refusal, Throttled):
                await self._blobs.delete(arrival.blob.key)
            raise
        if not registered.blob_kept:
            await self._blobs.delete(arrival.blob.key)
        return _delivery(arrival, registered)

    async def together(
        self, dock: Dock, arrivals: Sequence[Arrival], report: Report, *, waiting: list[Arrival]
    ) -> dict[str, Delivery]:
        """Those that are plainly new, by the key of their blob; for the others nothing was done.

        So it is for all of them when there is not room for all, and when the source has gone. What may be committed
        leaves `waiting`: nobody may delete its bytes from then on. Raises Unavailable.
        """
        firsts = _firsts(arrivals)
        if len(firsts) <= 1 or dock.source.duplicates is Duplicates.REJECT:
            return {}
        try:
            async with self._database.transaction(dock.grant) as tx:
                registered = await register_new(tx, dock, firsts, quotas=self._quotas)
                await report.tell(tx, dock, registered.values())
                new = [arrival for arrival in firsts if arrival.key in registered]
                for arrival in new:
                    waiting.remove(arrival)
        except Throttled:
            return {}
        report.committed(registered.values())
        return {arrival.blob.key: _delivery(arrival, registered[arrival.key]) for arrival in new}

    async def _registered(self, dock: Dock, arrival: Arrival, report: Report) -> Registered:
        """Bytes that are known and have been lost count as new, also those of a twin."""
        while True:
            async with self._database.transaction(dock.grant) as tx:
                registered = await register(tx, dock, arrival, quotas=self._quotas)
                await report.tell(tx, dock, [registered])
            report.committed([registered])
            known = registered.known
            if known is None or not await self._presence.lost(dock.grant, {registered.document: known}):
                break
        if registered.lacks is not None:
            async with self._database.transaction(dock.grant) as tx:
                registered = await mend(tx, dock, arrival, registered, quotas=self._quotas)
                await report.tell(tx, dock, [registered])
            report.committed([registered])
        return registered


def _firsts(arrivals: Sequence[Arrival]) -> list[Arrival]:
    """Those before which none has the same key or the same bytes."""
    keys, contents, firsts = set[str](), set[bytes](), list[Arrival]()
    for arrival in arrivals:
        if arrival.key not in keys and arrival.blob.sha256 not in contents:
            firsts.append(arrival)
        keys.add(arrival.key)
        contents.add(arrival.blob.sha256)
    return firsts


def _delivery(arrival: Arrival, registered: Registered) -> Delivery:
    return Delivery(
        arrival.key,
        registered.outcome,
        registered.document,
        registered.version,
        registered.same_as,
        sha256=arrival.blob.sha256,
    )
