"""Webhooks of the tenant: addresses of its own that are told when something happened, and what became of that."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from carrel.api.idempotency import IdempotencyKey
from carrel.api.schemas.types import Paging
from carrel.api.schemas.webhooks import (
    DeliveriesQuery,
    DeliveryList,
    DeliveryView,
    IssuedWebhookView,
    NewWebhook,
    WebhookChange,
    WebhookList,
    WebhookView,
)
from carrel.api.security import GuardedRoute, MayManage
from carrel.api.state import App
from carrel.domain.ids import DeliveryId, WebhookId
from carrel.library.sources import Replayed, StoredAnswer
from carrel.tenancy.webhooks import IssuedWebhook

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], route_class=GuardedRoute)


@router.post("", status_code=201, responses={404: {}, 409: {}})
async def create_webhook(principal: MayManage, app: App, wish: NewWebhook, once: IdempotencyKey) -> IssuedWebhookView:
    """Have events told to an address; `secret` is in this answer only. 409 `too_many_webhooks`."""
    memo = once.memo(wish, 201, _without_secret)
    try:
        issued = await app.webhooks.create(principal, wish.wish(), memo=memo)
    except Replayed as replayed:
        assert memo is not None
        assert principal.tenant is not None
        stored = replayed.answer
        secret = app.webhooks.repeatable(principal.tenant, WebhookId(UUID(stored.body["id"])), memo)
        raise Replayed(StoredAnswer(stored.status, {**stored.body, "secret": secret.reveal()})) from replayed
    return _with_secret(issued)


@router.get("")
async def list_webhooks(principal: MayManage, app: App, query: Annotated[Paging, Query()]) -> WebhookList:
    """The tenant's webhooks without their secrets, newest first."""
    page = await app.webhooks.listed(principal, limit=query.limit, cursor=query.cursor)
    return WebhookList(items=[WebhookView.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/{webhook_id}")
async def get_webhook(principal: MayManage, app: App, webhook_id: UUID) -> WebhookView:
    """One webhook without its secret."""
    return WebhookView.of(await app.webhooks.get(principal, WebhookId(webhook_id)))


@router.patch("/{webhook_id}")
async def change_webhook(principal: MayManage, app: App, webhook_id: UUID, change: WebhookChange) -> WebhookView:
    """Change its address, events or description, or switch it on or off; switched off, what waited is given up."""
    return WebhookView.of(await app.webhooks.change(principal, WebhookId(webhook_id), change.wish()))


@router.delete("/{webhook_id}", status_code=204)
async def delete_webhook(principal: MayManage, app: App, webhook_id: UUID) -> None:
    """Remove it and its log: nothing more is sent to it."""
    await app.webhooks.delete(principal, WebhookId(webhook_id))


@router.post("/{webhook_id}/rotate")
async def rotate_webhook(principal: MayManage, app: App, webhook_id: UUID) -> IssuedWebhookView:
    """A new secret, shown in this answer only; for 24 hours the former one signs beside it."""
    return _with_secret(await app.webhooks.rotate(principal, WebhookId(webhook_id)))


@router.post("/{webhook_id}/test")
async def test_webhook(principal: MayManage, app: App, webhook_id: UUID) -> DeliveryView:
    """Tell it a `webhook.test` now, and once; the answer says what the other side said."""
    return DeliveryView.of(await app.webhooks.test(principal, WebhookId(webhook_id)))


@router.get("/{webhook_id}/deliveries")
async def list_deliveries(
    principal: MayManage, app: App, webhook_id: UUID, query: Annotated[DeliveriesQuery, Query()]
) -> DeliveryList:
    """What was told to it in the last 30 days, or waits to be, newest first."""
    page = await app.webhooks.deliveries(
        principal, WebhookId(webhook_id), state=query.status, limit=query.limit, cursor=query.cursor
    )
    return DeliveryList(items=[DeliveryView.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/{webhook_id}/deliveries/{delivery_id}/retry", responses={409: {}})
async def retry_delivery(principal: MayManage, app: App, webhook_id: UUID, delivery_id: UUID) -> DeliveryView:
    """Tell it again, under the same id and from the first try on. 409 `delivery_waiting`, `webhook_disabled`."""
    return DeliveryView.of(await app.webhooks.retry(principal, WebhookId(webhook_id), DeliveryId(delivery_id)))


def _without_secret(issued: IssuedWebhook) -> WebhookView:
    return WebhookView.of(issued.webhook)


def _with_secret(issued: IssuedWebhook) -> IssuedWebhookView:
    return IssuedWebhookView(**_without_secret(issued).model_dump(), secret=issued.secret.reveal())
