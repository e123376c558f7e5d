"""The audit log as a tenant's managers read it, and whether its chain holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from carrel.domain.access import Principal, TenantGrant, enter_unlimited
from carrel.domain.chain import Break, Check, Event, Fault, Seal
from carrel.domain.rights import Permission
from carrel.store import audit
from carrel.store.audit import Line, Wanted
from carrel.store.pages import Page
from carrel.store.transaction import Database

__all__ = ["Anchor", "Audit", "Line", "Page", "Verdict", "Wanted"]

_BATCH: Final = 500
_Link: TypeAlias = tuple[Seal, Event | None]


@dataclass(frozen=True, slots=True)
class Anchor:
    """A hash that was written down outside of the database while the chain had this length."""

    position: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many seals hold, the head of the chain, and the first break; None means that the chain holds."""

    seals: int
    head: bytes
    first_break: Break | None


class Audit:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def listed(
        self, principal: Principal, wanted: Wanted, *, limit: int = 50, cursor: str | None = None
    ) -> Page[Line]:
        """Newest first. Raises Denied, Invalid `invalid_cursor`."""
        async with self._database.transaction(enter_unlimited(principal, Permission.AUDIT)) as tx:
            return await audit.listed(tx, wanted, limit=limit, cursor=cursor)

    async def verify(self, principal: Principal, *, anchors: Sequence[Anchor] = ()) -> Verdict:
        """Computes the whole chain again, some links in each transaction. Raises Denied."""
        grant = enter_unlimited(principal, Permission.AUDIT)
        check, known = Check(), {anchor.position: anchor.hash for anchor in anchors}
        while links := await self._links(grant, after=check.position):
            broken = _walk(check, links, known)
            if broken is not None:
                return Verdict(check.position, check.hash, broken)
        return Verdict(check.position, check.hash, await self._at_the_end(grant, check, known))

    async def _links(self, grant: TenantGrant, *, after: int) -> list[_Link]:
        """One more than is walked at once, so that each is seen with its neighbour."""
        async with self._database.transaction(grant) as tx:
            return await audit.chain(tx, after=after, most=_BATCH + 1)

    async def _at_the_end(self, grant: TenantGrant, check: Check, known: Mapping[int, bytes]) -> Break | None:
        """What no walk along the seals sees: an event between them, and seals that are gone from the end."""
        async with self._database.transaction(grant) as tx:
            between = await audit.inserted(tx, check.place) if check.place else None
        if between is None and any(position > check.position for position in known):
            return Break(check.position + 1, Fault.SEAL_REMOVED)
        return between


def _walk(check: Check, links: Sequence[_Link], known: Mapping[int, bytes]) -> Break | None:
    followers = [event for _, event in links[1:]] + [None]
    for (seal, event), following in zip(links[:_BATCH], followers, strict=False):
        broken = check.step(seal, event, following)
        if broken is not None:
            return broken
        if known.get(seal.position, seal.hash) != seal.hash:
            return Break(seal.position, Fault.ANCHOR_DIFFERS, seal.event)
    return None
