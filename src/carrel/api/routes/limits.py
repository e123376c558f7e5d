"""Limits, quotas and usage: seen by a tenant's admins, set by operators."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from carrel.api.schemas.limits import LimitsView, QuotasWish, RatesWish, UsageQuery, UsageView
from carrel.api.security import GuardedRoute, MayAudit, MayOperate
from carrel.api.state import App
from carrel.domain.ids import TenantId

router = APIRouter(prefix="/v1", tags=["limits"], route_class=GuardedRoute)


@router.get("/usage")
async def get_usage(principal: MayAudit, app: App, query: Annotated[UsageQuery, Query()]) -> UsageView:
    """What was used by day and bot, and where each quota stands now."""
    return UsageView.of(await app.allowances.usage(principal, query.period()))


@router.get("/tenants/{tenant_id}/limits")
async def get_limits(principal: MayOperate, app: App, tenant_id: UUID) -> LimitsView:
    """The quotas and rates that were set for one tenant."""
    return LimitsView.of(await app.allowances.of(principal, TenantId(tenant_id)))


@router.put("/tenants/{tenant_id}/quotas")
async def set_quotas(principal: MayOperate, app: App, tenant_id: UUID, wish: QuotasWish) -> LimitsView:
    """Set all quotas of one tenant. A quota that is left out is as the settings say."""
    return LimitsView.of(await app.allowances.limit(principal, TenantId(tenant_id), wish.wish()))


@router.put("/tenants/{tenant_id}/rates")
async def set_rates(principal: MayOperate, app: App, tenant_id: UUID, wish: RatesWish) -> LimitsView:
    """Set all rate limits of one tenant; they hold within five seconds. What is left out is as the settings say."""
    return LimitsView.of(await app.allowances.pace(principal, TenantId(tenant_id), wish.wish()))
