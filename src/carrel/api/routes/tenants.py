"""Tenants, for operators."""

from typing import Annotated

from fastapi import APIRouter, Query

from carrel.api.idempotency import IdempotencyKey
from carrel.api.schemas.tenants import NewTenant, TenantList, TenantView
from carrel.api.schemas.types import Paging
from carrel.api.security import GuardedRoute, MayOperate
from carrel.api.state import App

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
async def get_tenant(principal: MayOperate, app: App, tenant_id: str) -> TenantView:
    """One tenant."""
    return TenantView.of(await app.tenants.find(principal, tenant_id.lower()))
