"""Reshaping: a tenant that grew large gets index tables of its own, one that shrank goes back to the pooled ones.

The work is done beside search and ingestion. Each step is short (but for building the indexes, which holds up nobody),
commits by itself and can be repeated, so a worker that dies loses nothing: the next one looks where the tenant stands
and goes on from there.
"""

from typing import Final

import structlog

from carrel.domain.access import TenantGrant
from carrel.domain.jobs import JobKind
from carrel.domain.layout import Isolation, Layout, LayoutState, Thresholds
from carrel.ingest.pipeline import Work
from carrel.store import jobs, layouts
from carrel.store.layouts import KINDS, Kind
from carrel.store.transaction import Database, Transaction

log = structlog.get_logger(__name__)

_BATCH: Final = 2_000
_LONGEST: Final = 7_200.0  # seconds, for building the indexes

_UP: Final = {
    LayoutState.FILLING: LayoutState.PROMOTING,
    LayoutState.PROMOTING: LayoutState.DEDICATED,
    LayoutState.DEMOTING: LayoutState.DEDICATED,
}
_DOWN: Final = {
    LayoutState.FILLING: LayoutState.LEAVING,
    LayoutState.PROMOTING: LayoutState.LEAVING,
    LayoutState.DEDICATED: LayoutState.DEMOTING,
    LayoutState.DEMOTING: LayoutState.LEAVING,
}


async def consider(tx: Transaction, thresholds: Thresholds) -> None:
    """Ask for a job when the tenant does not lie as it should."""
    if (await layouts.look(tx)).is_due(thresholds):
        await jobs.enqueue(tx, JobKind.RESHAPE, tx.tenant)


class Reshaping:
    def __init__(self, database: Database, thresholds: Thresholds) -> None:
        self._database = database
        self._thresholds = thresholds

    async def run(self, work: Work) -> None:
        """Until the tenant lies as it should; tables that a search may still read are left for another job.

        Raises LeaseLost.
        """
        while await self._step(work.grant):
            pass
        async with self._database.transaction(work.grant) as tx:
            await jobs.finish(tx, work.claim)

    async def _step(self, grant: TenantGrant) -> bool:
        """Whether there may be another."""
        layout = await self._look(grant)
        if layout.state is LayoutState.LEAVING:
            return await self._close(grant, layout)
        if layout.wanted(self._thresholds) is Isolation.DEDICATED:
            return await self._up(grant, layout.state)
        return await self._down(grant, layout.state)

    async def _up(self, grant: TenantGrant, state: LayoutState) -> bool:
        match state:
            case LayoutState.POOLED:
                return await self._open(grant)
            case LayoutState.FILLING:
                await self._reconcile(grant)
                await self._index(grant)
            case LayoutState.PROMOTING:
                await self._reconcile(grant)
            case LayoutState.DEDICATED:
                await self._clear(grant)
                return False
        await self._turn(grant, state, _UP[state])
        return True

    async def _down(self, grant: TenantGrant, state: LayoutState) -> bool:
        match state:
            case LayoutState.POOLED:
                return False
            case LayoutState.DEDICATED:
                await self._clear(grant)
            case LayoutState.DEMOTING:
                await self._reconcile(grant)
        await self._turn(grant, state, _DOWN[state])
        return True

    async def _look(self, grant: TenantGrant) -> Layout:
        async with self._database.transaction(grant) as tx:
            return await layouts.look(tx)

    async def _open(self, grant: TenantGrant) -> bool:
        async with self._database.transaction(grant) as tx:
            return await layouts.open_own(tx)

    async def _close(self, grant: TenantGrant, layout: Layout) -> bool:
        if not layout.settled:
            return False
        async with self._database.transaction(grant) as tx:
            return await layouts.close_own(tx)

    async def _index(self, grant: TenantGrant) -> None:
        async with self._database.transaction(grant, timeout=_LONGEST) as tx:
            await layouts.index_own(tx)

    async def _reconcile(self, grant: TenantGrant) -> None:
        for kind in KINDS:
            await self._reconcile_kind(grant, kind)

    async def _reconcile_kind(self, grant: TenantGrant, kind: Kind) -> None:
        reached = None
        while True:
            async with self._database.transaction(grant) as tx:
                reached = await layouts.reconcile(tx, kind, after=reached, most=_BATCH)
            if reached is None:
                return

    async def _clear(self, grant: TenantGrant) -> None:
        left = 1
        while left:
            async with self._database.transaction(grant) as tx:
                left = await layouts.clear_pooled(tx, most=_BATCH)

    async def _turn(self, grant: TenantGrant, state: LayoutState, following: LayoutState) -> None:
        async with self._database.transaction(grant) as tx:
            turned = await layouts.turn(tx, state, following)
        if turned:
            log.info("tenant.reshaped", tenant=str(grant.tenant), former=state, layout=following)
