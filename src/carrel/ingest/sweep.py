"""Sweeping: bytes that no version names, left by an upload that died half-way, go after a day; so do stored answers.

Reservations that nobody settled are given back, what is kept is counted anew, and a tenant whose entries do not lie as
they should is brought to the queue.
"""

from contextlib import suppress
from typing import Final

import structlog

from carrel.domain.access import for_job, for_machine
from carrel.domain.errors import NotFound
from carrel.domain.ids import TenantId
from carrel.domain.layout import Thresholds
from carrel.ingest.reshape import consider
from carrel.ports.blobs import Blobs
from carrel.store import deliveries, idempotency, life, quotas, tenants, versions, webhooks
from carrel.store.transaction import Database

log = structlog.get_logger(__name__)

_GRACE: Final = 86_400.0
_MEMORY: Final = 7 * 86_400.0  # seconds: a worker may have been down for a week-end


class Sweep:
    """`grace` is how many seconds an upload may take from its first byte to its commit."""

    def __init__(
        self, database: Database, blobs: Blobs, *, thresholds: Thresholds | None = None, grace: float = _GRACE
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._thresholds = thresholds or Thresholds()
        self._grace = grace

    async def run(self) -> None:
        """Every tenant, each in a transaction of its own. Raises Unavailable."""
        async for tenant in tenants.each(self._database):
            with suppress(NotFound):  # destroyed since it was listed
                await self._tend(tenant)
                while await self._tidy_deliveries(tenant):
                    pass
            async for old in self._blobs.older(tenant, seconds=self._grace):
                await self._forget_strays(tenant, old)
        await self._follow_the_destroyed()

    async def _tend(self, tenant: TenantId) -> None:
        async with self._database.transaction(for_job(tenant, None)) as tx:
            await consider(tx, self._thresholds)
            await idempotency.forget_old(tx)
            await quotas.tidy(tx)

    async def _tidy_deliveries(self, tenant: TenantId) -> bool:
        """A slice of each kind: a receiver that was dead for days can leave a great many. Whether there may be more."""
        async with self._database.transaction(for_job(tenant, None)) as tx:
            more = [await step(tx) for step in (deliveries.give_up, deliveries.forget_deleted, deliveries.forget_old)]
            await webhooks.forget_deleted(tx)
        return any(more)

    async def _follow_the_destroyed(self) -> None:
        """An upload that was on its way when its tenant was destroyed leaves bytes that no version will ever name."""
        async with self._database.transaction(for_machine()) as tx:
            gone = await life.lately_destroyed(tx, seconds=_MEMORY)
        for tenant in gone:
            async for strays in self._blobs.older(tenant, seconds=self._grace):
                for stray in strays:
                    await self._blobs.delete(stray)

    async def _forget_strays(self, tenant: TenantId, blobs: list[str]) -> None:
        async with self._database.transaction(for_job(tenant, None)) as tx:
            named = await versions.named_blobs(tx, blobs)
        strays = [blob for blob in blobs if blob not in named]
        for stray in strays:
            await self._blobs.delete(stray)
        if strays:
            log.info("blobs.swept", tenant=str(tenant), count=len(strays))
