"""Sources that refresh themselves: asked to, paused, resumed, and looked at."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from carrel.api.schemas.refreshes import ItemList, ItemsQuery, ItemView, RefreshWish, RunList, RunView
from carrel.api.schemas.sources import SourceView
from carrel.api.schemas.types import Paging
from carrel.api.security import GuardedRoute, MayCurate, MayIngest, MayRead
from carrel.api.state import App
from carrel.domain.ids import SourceId

router = APIRouter(prefix="/v1/sources/{source_id}", tags=["sources"], route_class=GuardedRoute)


@router.post("/refresh", status_code=202, responses={409: {}})
async def refresh_source(
    principal: MayIngest, app: App, source_id: UUID, wish: RefreshWish | None = None
) -> SourceView:
    """Walk the source's place as soon as a worker has time. 409 `source_not_refreshing`, `source_paused`,
    `source_held`.
    """
    accept_empty = wish is not None and wish.accept_empty
    return SourceView.of(await app.refreshes.request(principal, SourceId(source_id), accept_empty=accept_empty))


@router.post("/pause")
async def pause_source(principal: MayCurate, app: App, source_id: UUID) -> SourceView:
    """Hold a source: no walk, no event, and documents whose work has not begun wait."""
    return SourceView.of(await app.refreshes.pause(principal, SourceId(source_id)))


@router.post("/resume")
async def resume_source(principal: MayCurate, app: App, source_id: UUID) -> SourceView:
    """Go on with a source that was paused; one that refreshes itself is walked at once."""
    return SourceView.of(await app.refreshes.resume(principal, SourceId(source_id)))


@router.get("/runs")
async def list_runs(principal: MayRead, app: App, source_id: UUID, query: Annotated[Paging, Query()]) -> RunList:
    """The latest 200 walks of the source's place, newest first."""
    page = await app.refreshes.runs(principal, SourceId(source_id), limit=query.limit, cursor=query.cursor)
    return RunList(items=[RunView.of(run) for run in page.items], next_cursor=page.next_cursor)


@router.get("/items")
async def list_items(principal: MayRead, app: App, source_id: UUID, query: Annotated[ItemsQuery, Query()]) -> ItemList:
    """What was seen at the source's place, the last changes first; `status=failed` shows what could not be had."""
    page = await app.refreshes.items(
        principal, SourceId(source_id), status=query.status, limit=query.limit, cursor=query.cursor
    )
    return ItemList(items=[ItemView.of(item) for item in page.items], next_cursor=page.next_cursor)
