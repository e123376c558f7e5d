"""Keys of the tenant."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from carrel.api.idempotency import IdempotencyKey
from carrel.api.schemas.keys import IssuedKeyView, KeyList, KeyView, NewKey
from carrel.api.schemas.types import Paging
from carrel.api.security import GuardedRoute, MayManage
from carrel.api.state import App
from carrel.domain.ids import KeyId
from carrel.library.sources import Replayed, StoredAnswer
from carrel.tenancy.keys import IssuedKey

router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=GuardedRoute)


@router.post("", status_code=201, responses={404: {}})
async def create_key(principal: MayManage, app: App, wish: NewKey, once: IdempotencyKey) -> IssuedKeyView:
    """Make a key; `key` is in this answer only. 404 when a bot or source is not there."""
    memo = once.memo(wish, 201, _without_secret)
    try:
        issued = await app.keys.create(principal, wish.wish(), memo=memo)
    except Replayed as replayed:
        assert memo is not None
        assert principal.tenant is not None
        clear = app.keys.repeatable(principal.tenant, memo.principal, memo.key).reveal()
        raise Replayed(StoredAnswer(replayed.answer.status, {**replayed.answer.body, "key": clear})) from replayed
    return IssuedKeyView(**KeyView.of(issued.row).model_dump(), key=issued.clear)


def _without_secret(issued: IssuedKey) -> KeyView:
    return KeyView.of(issued.row)


@router.get("")
async def list_keys(principal: MayManage, app: App, query: Annotated[Paging, Query()]) -> KeyList:
    """The tenant's keys without their secrets, newest first, revoked ones too."""
    page = await app.keys.listed(principal, limit=query.limit, cursor=query.cursor)
    return KeyList(items=[KeyView.of(key) for key in page.items], next_cursor=page.next_cursor)


@router.get("/{key_id}")
async def get_key(principal: MayManage, app: App, key_id: UUID) -> KeyView:
    """One key without its secret."""
    return KeyView.of(await app.keys.get(principal, KeyId(key_id)))


@router.delete("/{key_id}", status_code=204)
async def revoke_key(principal: MayManage, app: App, key_id: UUID) -> None:
    """Revoke a key: dead from the next request on."""
    await app.keys.revoke(principal, KeyId(key_id))
