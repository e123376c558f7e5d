"""The dock: where somebody may deliver, and how what arrives there becomes a version with its job."""

from dataclasses import dataclass, replace

from carrel.domain.access import TenantGrant
from carrel.domain.ids import DocumentId, UserId, VersionId, document_id
from carrel.domain.library import Outcome, Source
from carrel.domain.quotas import NO_QUOTAS, NOTHING_HELD, Hold, Quotas
from carrel.store import erasure, versions
from carrel.store import quotas as counters
from carrel.store.transaction import Transaction
from carrel.store.versions import Arrival, Registered

__all__ = ["Arrival", "Dock", "Registered", "mend", "register"]


@dataclass(frozen=True, slots=True)
class Dock:
    """Where a principal may deliver: one source, found under its grant. `person` is who asks, if it is a person.

    `hold` is what was reserved of the tenant's quota, `room` how many bytes that is.
    """

    grant: TenantGrant
    source: Source
    person: UserId | None = None
    hold: Hold = NOTHING_HELD
    room: int = 0


async def register(tx: Transaction, dock: Dock, arrival: Arrival, *, quotas: Quotas = NO_QUOTAS) -> Registered:
    """The arrival as a version with its job; versions that nobody will read go in the same transaction."""
    registered = await versions.register(tx, dock.source, arrival, requester=dock.person)
    if registered.version is not None:
        new = registered.outcome is Outcome.CREATED
        await _follow_up(tx, dock, arrival, registered.document, registered.version, new=new, quotas=quotas)
    return registered


async def mend(
    tx: Transaction, dock: Dock, arrival: Arrival, rejected: Registered, *, quotas: Quotas = NO_QUOTAS
) -> Registered:
    """A duplicate whose bytes were kept all the same: its twin had lost them. As it was when that is not so any more."""
    if rejected.lacks is None:
        return rejected
    twin = document_id(dock.source.id, rejected.lacks)
    arrival = replace(arrival, key=rejected.lacks)
    version = await versions.mend(tx, dock.source, arrival, requester=dock.person)
    if version is not None:
        await _follow_up(tx, dock, arrival, twin, version, new=False, quotas=quotas)
    return replace(rejected, version=version)


async def _follow_up(
    tx: Transaction,
    dock: Dock,
    arrival: Arrival,
    document: DocumentId,
    version: VersionId,
    *,
    new: bool,
    quotas: Quotas,
) -> None:
    await erasure.discard(tx, document, await versions.superseded(tx, document))
    await counters.charge(tx, dock.hold, documents=int(new), size=arrival.blob.size, defaults=quotas)
    await versions.demand(tx, dock.source, version, arrival.blob.size)
