"""Dispatch: what is due goes out side by side, and nobody waits for somebody else's slow receiver.

A process has so many places. Webhooks that fail or are slow share half of them, so the others are never all taken; how
many one webhook and one tenant may have in flight, the claim itself sees to.
"""

import asyncio
from typing import Final

import structlog

from carrel.domain.access import for_machine
from carrel.domain.errors import Unavailable
from carrel.store import deliveries
from carrel.store.deliveries import Errand, Places
from carrel.store.transaction import Database
from carrel.tenancy.courier import LEASE, Courier

log = structlog.get_logger(__name__)

_PLACES: Final = 32
_EACH: Final = 4
_POLL: Final = 1.0
_BREATH: Final = 0.05  # seconds between two claims, however fast deliveries end


class Dispatch:
    """`each` is how many deliveries to one webhook are in flight, `lease` how long a silent worker keeps one."""

    def __init__(
        self,
        database: Database,
        courier: Courier,
        *,
        places: int = _PLACES,
        each: int = _EACH,
        lease: float = LEASE,
        poll: float = _POLL,
    ) -> None:
        self._database = database
        self._courier = courier
        self._places = places
        self._each = each
        self._lease = lease
        self._poll = poll
        self._running: dict[asyncio.Task[None], Errand] = {}
        self._news = asyncio.Event()

    async def run(self) -> None:
        """For ever; what is on its way when this is cancelled is told again when its lease is over."""
        try:
            while True:
                self._news.clear()
                if not await self._claim_or_wait():
                    await self._rest()
                await asyncio.sleep(_BREATH)
        finally:
            for task in self._running:
                task.cancel()

    async def drain(self) -> None:
        """Until nothing more is due now, and nothing is on its way. Raises Unavailable."""
        while await self._begin_due() or self._running:
            if self._running:
                await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)

    async def _claim_or_wait(self) -> int:
        try:
            return await self._begin_due()
        except Unavailable as problem:
            log.warning("webhooks.wait", problem=problem.detail)
        except Exception:  # what cannot be told must not take the worker's documents with it
            log.exception("webhooks.stumbled")
        return 0

    async def _begin_due(self) -> int:
        free = self._places - len(self._running)
        if free <= 0:
            return 0
        doubtful = self._places // 2 - sum(errand.doubtful for errand in self._running.values())
        async with self._database.transaction(for_machine()) as tx:
            claimed = await deliveries.claim(tx, Places(free, max(doubtful, 0), self._each), lease=self._lease)
        for errand in claimed:
            task = asyncio.create_task(self._deliver(errand))
            self._running[task] = errand
            task.add_done_callback(self._done)
        return len(claimed)

    async def _deliver(self, errand: Errand) -> None:
        """What could not be written down is taken up when the lease is over."""
        try:
            await self._courier.deliver(errand)
        except Unavailable as problem:
            log.warning("webhook.unsettled", delivery=str(errand.id), problem=problem.detail)
        except Exception:  # one that broke must not end the others
            log.exception("webhook.broke", delivery=str(errand.id))

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._news.set()

    async def _rest(self) -> None:
        """Until a place is free, or for a moment."""
        try:
            async with asyncio.timeout(self._poll):
                await self._news.wait()
        except TimeoutError:
            return
