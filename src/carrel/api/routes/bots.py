"""Bots: each reads the sources that it was given."""

from collections.abc import Iterable
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from carrel.api.idempotency import IdempotencyKey
from carrel.api.schemas.bots import BotChange, BotList, BotView, NewBot
from carrel.api.schemas.types import Paging
from carrel.api.security import GuardedRoute, MayCurate, MayRead
from carrel.api.state import App
from carrel.domain.errors import Invalid
from carrel.domain.ids import BotId

router = APIRouter(prefix="/v1/bots", tags=["bots"], route_class=GuardedRoute)


@router.post("", status_code=201, responses={404: {}, 409: {}})
async def create_bot(principal: MayCurate, app: App, wish: NewBot, once: IdempotencyKey) -> BotView:
    """Make a bot. 404 when a source or the credential is not there, 409 `bot_exists`.

    422 `unknown_model` for a model that needs a credential, `unusable_credential` for one that cannot be called.
    """
    _check_retrieval(wish.retrieval)
    memo = once.memo(wish, 201, BotView.of)
    return BotView.of(await app.bots.create(principal, wish.wish(), memo=memo))


@router.get("")
async def list_bots(principal: MayRead, app: App, query: Annotated[Paging, Query()]) -> BotList:
    """The bots that the credential sees, newest first."""
    page = await app.bots.listed(principal, limit=query.limit, cursor=query.cursor)
    return BotList(items=[BotView.of(bot) for bot in page.items], next_cursor=page.next_cursor)


@router.get("/{bot_id}")
async def get_bot(principal: MayRead, app: App, bot_id: UUID) -> BotView:
    """One bot."""
    return BotView.of(await app.bots.get(principal, BotId(bot_id)))


@router.patch("/{bot_id}", responses={409: {}})
async def change_bot(principal: MayCurate, app: App, bot_id: UUID, change: BotChange) -> BotView:
    """Change a bot. 404 also when a source or the credential is not there, 409 `bot_exists`."""
    _check_retrieval(change.retrieval or ())
    return BotView.of(await app.bots.change(principal, BotId(bot_id), change.wish()))


@router.delete("/{bot_id}", status_code=204)
async def delete_bot(principal: MayCurate, app: App, bot_id: UUID) -> None:
    """Remove a bot; its sources stay."""
    await app.bots.delete(principal, BotId(bot_id))


def _check_retrieval(names: Iterable[str]) -> None:
    """A bot's retrieval has no settings yet. Raises Invalid `unknown_setting`."""
    for name in names:
        raise Invalid("There is no such setting of retrieval.", code="unknown_setting", field=f"retrieval.{name}"[:200])
