"""Tenants: made and listed by operators; looked at, renamed, exported and deleted by their owners too."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from carrel.api.attachment import attachment
from carrel.api.idempotency import IdempotencyKey
from carrel.api.schemas.retention import RetentionView, RetentionWish
from carrel.api.schemas.tenants import NewTenant, TenantChange, TenantList, TenantReceiptView, TenantView
from carrel.api.schemas.types import Paging
from carrel.api.security import GuardedRoute, MayExport, MayOperate, MayOwn
from carrel.api.state import App
from carrel.domain.ids import TenantId

router = APIRouter(prefix="/v1/tenants", tags=["tenants"], route_class=GuardedRoute)


@router.post("", status_code=201, responses={409: {}})
async def create_tenant(principal: MayOperate, app: App, wish: NewTenant, once: IdempotencyKey) -> TenantView:
    """Make a tenant. 409 `tenant_exists`."""
    return TenantView.of(await app.tenants.create(principal, wish.name, slug=wish.slug, once=once.key))


@router.get("")
async def list_tenants(principal: MayOperate, app: App, query: Annotated[Paging, Query()]) -> TenantList:
    """All tenants, newest first."""
    page = await app.tenants.listed(principal, limit=query.limit, cursor=query.cursor)
    return TenantList(items=[TenantView.of(tenant) for tenant in page.items], next_cursor=page.next_cursor)


@router.get("/{tenant_id}")
async def get_tenant(principal: MayOwn, app: App, tenant_id: UUID) -> TenantView:
    """One tenant: any for an operator, its own for an owner."""
    return TenantView.of(await app.life.get(principal, TenantId(tenant_id)))


@router.patch("/{tenant_id}")
async def rename_tenant(principal: MayOwn, app: App, tenant_id: UUID, change: TenantChange) -> TenantView:
    """Give a tenant another name. Its slug stays."""
    return TenantView.of(await app.life.rename(principal, TenantId(tenant_id), change.name))


@router.post("/{tenant_id}/suspend")
async def suspend_tenant(principal: MayOperate, app: App, tenant_id: UUID) -> TenantView:
    """Refuse everything of a tenant from now on. Suspending it again changes nothing."""
    return TenantView.of(await app.life.suspend(principal, TenantId(tenant_id)))


@router.post("/{tenant_id}/resume")
async def resume_tenant(principal: MayOperate, app: App, tenant_id: UUID) -> TenantView:
    """Let a suspended tenant work again. Resuming it again changes nothing."""
    return TenantView.of(await app.life.resume(principal, TenantId(tenant_id)))


@router.delete("/{tenant_id}", status_code=204)
async def delete_tenant(principal: MayOwn, app: App, tenant_id: UUID) -> None:
    """Give a tenant up, for ever: invisible at once, then destroyed everywhere. An operator finds the receipt."""
    await app.life.delete(principal, TenantId(tenant_id))


@router.post(
    "/{tenant_id}/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-tar": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def export_tenant(principal: MayExport, app: App, tenant_id: UUID) -> StreamingResponse:
    """Everything of a tenant as one archive, but for what is private to other members.

    It ends with `manifest.json`. If it breaks, the connection does too, and the archive has none.
    """
    exported = await app.exports.begin(principal, TenantId(tenant_id))
    return await attachment(exported.content, exported.name, "application/x-tar")


@router.get("/{tenant_id}/receipt")
async def get_tenant_receipt(principal: MayOperate, app: App, tenant_id: UUID) -> TenantReceiptView:
    """What was destroyed of a tenant that was deleted."""
    return TenantReceiptView.of(await app.life.receipt(principal, TenantId(tenant_id)))


@router.get("/{tenant_id}/retention")
async def get_retention(principal: MayOwn, app: App, tenant_id: UUID) -> RetentionView:
    """How long a tenant's chats are kept after their last question."""
    return RetentionView.of(await app.retention.of(principal, TenantId(tenant_id)))


@router.put("/{tenant_id}/retention")
async def set_retention(principal: MayOwn, app: App, tenant_id: UUID, wish: RetentionWish) -> RetentionView:
    """Keep a tenant's chats for a shorter time than the deployment does. 422 `out_of_range` for a longer one."""
    return RetentionView.of(await app.retention.set(principal, TenantId(tenant_id), wish.chat_days))
