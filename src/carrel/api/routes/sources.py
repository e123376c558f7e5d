"""Sources: named bodies of documents."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from carrel.api.idempotency import IdempotencyKey
from carrel.api.schemas.sources import NewSource, SourceChange, SourceList, SourcesQuery, SourceView
from carrel.api.security import GuardedRoute, MayCurate, MayRead
from carrel.api.state import App
from carrel.domain.ids import BotId, SourceId

router = APIRouter(prefix="/v1/sources", tags=["sources"], route_class=GuardedRoute)


@router.post("", status_code=201, responses={409: {}})
async def create_source(principal: MayCurate, app: App, wish: NewSource, once: IdempotencyKey) -> SourceView:
    """Make a source. One with a place begins to fetch its documents at once. 409 `source_exists`.

    A place with a credential needs the permission `manage` too.
    """
    memo = once.memo(wish, 201, SourceView.of)
    return SourceView.of(await app.sources.create(principal, wish.wish(principal.user), memo=memo))


@router.get("", responses={404: {}})
async def list_sources(principal: MayRead, app: App, query: Annotated[SourcesQuery, Query()]) -> SourceList:
    """The sources that the credential sees, or those of one bot, newest first."""
    bot = None if query.bot_id is None else BotId(query.bot_id)
    page = await app.sources.listed(principal, bot=bot, limit=query.limit, cursor=query.cursor)
    return SourceList(items=[SourceView.of(source) for source in page.items], next_cursor=page.next_cursor)


@router.get("/{source_id}")
async def get_source(principal: MayRead, app: App, source_id: UUID) -> SourceView:
    """One source, with its documents counted by status."""
    return SourceView.of(await app.sources.get(principal, SourceId(source_id)))


@router.patch("/{source_id}", responses={409: {}})
async def change_source(principal: MayCurate, app: App, source_id: UUID, change: SourceChange) -> SourceView:
    """Rename a source, or change what it does with duplicates, its place or its schedule. 409 `source_exists`.

    Another place with a credential needs the permission `manage` too.
    """
    changed = await app.sources.change(
        principal, SourceId(source_id), name=change.name, duplicates=change.duplicates, refit=change.refit()
    )
    return SourceView.of(changed)


@router.delete("/{source_id}", status_code=204)
async def delete_source(principal: MayCurate, app: App, source_id: UUID) -> None:
    """Forget a source and every document in it."""
    await app.forgetting.source(principal, SourceId(source_id))
