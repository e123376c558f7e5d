"""Sealing the audit log: a round of the worker that appends what is new to each tenant's chain, and tells its head.

It is done beside the transactions that write events, not inside them: a chain that each of them extended would make
them wait for each other. Why the order is right: a writer shares a lock from before its event gets its time until its
commit, and the sealer takes it alone. So while it looks, every event that has a time is committed or gone, and each
later one has a later time, as long as the database's clock does not go back by more than `margin`.
"""

from typing import Final

import structlog

from carrel.domain.access import for_job, for_machine
from carrel.domain.chain import START, Event, Seal, link
from carrel.domain.errors import NotFound
from carrel.domain.ids import TenantId
from carrel.store import audit, tenants
from carrel.store.audit import LogBusyError
from carrel.store.transaction import Database

log = structlog.get_logger(__name__)

_MARGIN: Final = 2.0
_BATCH: Final = 1_000


class Sealer:
    """`margin` is how many seconds old an event is before it is sealed."""

    def __init__(self, database: Database, *, margin: float = _MARGIN) -> None:
        self._database = database
        self._margin = margin
        self._told: dict[TenantId, int] = {}

    async def run(self) -> None:
        """Every tenant with something new. One that is written to without a pause gets its turn the next time.

        Raises Unavailable.
        """
        async with self._database.transaction(for_machine()) as tx:
            waiting = await audit.unsealed(tx, margin=self._margin)
        for tenant in waiting:
            try:
                while await self._extend(tenant) == _BATCH:
                    pass
            except LogBusyError:
                log.info("audit.busy", tenant=str(tenant))
            except NotFound:
                log.info("audit.homeless", tenant=str(tenant))

    async def tell(self) -> None:
        """The head of each chain that grew since it was told, into the log: the anchor outside of the database.

        Raises Unavailable.
        """
        async for tenant in tenants.each(self._database):
            async with self._database.transaction(for_job(tenant, None)) as tx:
                head = await audit.last_seal(tx)
            if head is not None and self._told.get(tenant) != head.position:
                log.info("audit.head", tenant=str(tenant), position=head.position, hash=head.hash.hex())
                self._told[tenant] = head.position

    async def _extend(self, tenant: TenantId) -> int:
        """How many events were sealed."""
        async with self._database.transaction(for_job(tenant, None)) as tx:
            await audit.hold(tx)
            last = await audit.last_seal(tx)
            events = await audit.to_seal(tx, last, margin=self._margin, most=_BATCH)
            await audit.seal(tx, chained(last, events))
        return len(events)


def chained(last: Seal | None, events: list[Event]) -> list[Seal]:
    """The seals of these events, behind the last one."""
    position, before, seals = (last.position, last.hash, []) if last else (0, START, [])
    for event in events:
        position, before = position + 1, link(before, event)
        seals.append(Seal(position, event.id, event.created_at, before))
    return seals
