"""The dock: where somebody may deliver, and how what arrives there becomes a version with its job."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from carrel.domain.access import TenantGrant
from carrel.domain.ids import UserId
from carrel.domain.keys import document_key, place_key
from carrel.domain.library import Outcome, Source
from carrel.domain.quotas import NO_QUOTAS, NOTHING_HELD, Hold, Quotas
from carrel.store import erasure, newcomers, versions
from carrel.store import quotas as counters
from carrel.store.transaction import Transaction
from carrel.store.versions import Arrival, Registered

__all__ = ["Arrival", "Dock", "Registered", "mend", "register", "register_new"]


@dataclass(frozen=True, slots=True)
class Dock:
    """Where a principal may deliver: one source, found under its grant. `person` is who asks, if it is a person.

    `hold` is what was reserved of the tenant's quota, `room` how many bytes that is. `is_place`: what arrives has the
    names of a place, or of an archive, and keeps them to the letter.
    """

    grant: TenantGrant
    source: Source
    person: UserId | None = None
    hold: Hold = NOTHING_HELD
    room: int = 0
    is_place: bool = False

    def key_of(self, name: str) -> str:
        """Raises Invalid `invalid_key`."""
        return place_key(name) if self.is_place else document_key(name)


async def register(tx: Transaction, dock: Dock, arrival: Arrival, *, quotas: Quotas = NO_QUOTAS) -> Registered:
    """The arrival as a version with its job; versions that nobody will read go in the same transaction."""
    registered = await versions.register(tx, dock.source, arrival, requester=dock.person)
    await _follow_up(tx, dock, registered, size=arrival.blob.size, quotas=quotas)
    return registered


async def register_new(
    tx: Transaction, dock: Dock, arrivals: Sequence[Arrival], *, quotas: Quotas = NO_QUOTAS
) -> dict[str, Registered]:
    """As `register` for those that are plainly new, by key. The others are left as if they had not been named.

    No two of them have the same key, nor the same bytes. Raises Throttled `quota_exceeded`.
    """
    registered = await newcomers.register(tx, dock.source, arrivals, requester=dock.person)
    sizes = {arrival.key: arrival.blob.size for arrival in arrivals}
    wanted = [(one.version, sizes[key]) for key, one in registered.items() if one.version is not None]
    if wanted:
        size = sum(size for _, size in wanted)
        await counters.charge(tx, dock.hold, documents=len(wanted), size=size, defaults=quotas, versions=len(wanted))
        await newcomers.demand(tx, dock.source, wanted)
    return registered


async def mend(
    tx: Transaction, dock: Dock, arrival: Arrival, rejected: Registered, *, quotas: Quotas = NO_QUOTAS
) -> Registered:
    """A duplicate whose bytes are kept all the same, for its twin that has lost them: if it still has."""
    if rejected.lacks is None:
        return rejected
    own = replace(arrival, key=rejected.lacks)
    version = await versions.mend(tx, dock.source, own, requester=dock.person)
    if version is None:
        return rejected
    mended = replace(rejected, version=version, superseded=await versions.superseded(tx, rejected.document))
    await _follow_up(tx, dock, mended, size=arrival.blob.size, quotas=quotas)
    return mended


async def _follow_up(tx: Transaction, dock: Dock, registered: Registered, *, size: int, quotas: Quotas) -> None:
    if registered.version is not None:
        await erasure.discard(tx, registered.document, registered.superseded)
        new = registered.outcome is Outcome.CREATED
        await counters.charge(tx, dock.hold, documents=int(new), size=size, defaults=quotas)
        await versions.demand(tx, dock.source, registered.version, size)
