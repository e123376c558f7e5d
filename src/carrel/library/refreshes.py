"""Refreshing as people see it: asked for, paused and resumed, and what came of it."""

from carrel.domain.access import Principal, enter, enter_unlimited
from carrel.domain.audit import Act
from carrel.domain.errors import Conflict
from carrel.domain.ids import SourceId
from carrel.domain.jobs import JobKind
from carrel.domain.library import Source
from carrel.domain.origins import Item, ItemStatus, Run
from carrel.domain.rights import Permission
from carrel.library.shown import shown_item, shown_run, shown_source
from carrel.store import audit, jobs, source_items, source_runs, sources
from carrel.store.pages import Page
from carrel.store.transaction import Database

__all__ = ["Refreshes"]


class Refreshes:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def request(self, principal: Principal, source: SourceId, *, accept_empty: bool = False) -> Source:
        """As soon as a worker has time; asked for while a run is on its way, there is another one after it.

        Raises Denied, NotFound, Conflict `source_not_refreshing`, `source_paused`, `source_held`.
        """
        async with self._database.transaction(enter(principal, Permission.INGEST)) as tx:
            found = await sources.find(tx, source)
            if found.place is None:
                raise Conflict("Documents are brought to this source.", code="source_not_refreshing")
            if found.paused:
                raise Conflict("The source is paused: resume it, and it refreshes itself.", code="source_paused")
            await sources.demand_owner(tx, source)
            if accept_empty:
                await sources.accept_empty(tx, source)
            await audit.record(tx, Act.REFRESH_REQUESTED, source, facts={"accept_empty": accept_empty})
            await jobs.enqueue(tx, JobKind.REFRESH, source, owner=found.owner)
            return shown_source(principal, await sources.get(tx, source))

    async def pause(self, principal: Principal, source: SourceId) -> Source:
        """Its walk stops, its events wait, and so do documents not yet begun. Raises Denied, NotFound."""
        async with self._database.transaction(enter_unlimited(principal, Permission.CURATE)) as tx:
            await sources.find(tx, source)
            if await sources.pause(tx, source, paused=True):
                await jobs.hold_back(tx, source)
                await source_runs.take_leave_back(tx, source)
                await audit.record(tx, Act.SOURCE_PAUSED, source)
            return await sources.get(tx, source)

    async def resume(self, principal: Principal, source: SourceId) -> Source:
        """What waited goes on; one that refreshes itself is walked at once. Raises Denied, NotFound."""
        async with self._database.transaction(enter_unlimited(principal, Permission.CURATE)) as tx:
            found = await sources.find(tx, source)
            if await sources.pause(tx, source, paused=False):
                await audit.record(tx, Act.SOURCE_RESUMED, source)
                await jobs.release(tx, source)
                if found.place is not None:
                    await jobs.enqueue(tx, JobKind.REFRESH, source, owner=found.owner)
            return await sources.get(tx, source)

    async def runs(
        self, principal: Principal, source: SourceId, *, limit: int = 50, cursor: str | None = None
    ) -> Page[Run]:
        """Newest first. Raises Denied, NotFound, Invalid `invalid_cursor`."""
        async with self._database.transaction(enter(principal, Permission.METADATA)) as tx:
            await sources.find(tx, source)
            page = await source_runs.listed(tx, source, limit=limit, cursor=cursor)
        return Page([shown_run(principal, run) for run in page.items], page.next_cursor)

    async def items(
        self,
        principal: Principal,
        source: SourceId,
        *,
        status: ItemStatus | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Item]:
        """Things seen at its place, the last changes first. Raises Denied, NotFound, Invalid `invalid_cursor`."""
        async with self._database.transaction(enter(principal, Permission.METADATA)) as tx:
            await sources.find(tx, source)
            page = await source_items.listed(tx, source, status=status, limit=limit, cursor=cursor)
        return Page([shown_item(principal, item) for item in page.items], page.next_cursor)
