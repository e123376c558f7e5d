"""The audit log of the tenant."""

from typing import Annotated

from fastapi import APIRouter, Query

from carrel.api.schemas.audit import AuditEventView, AuditList, AuditQuery
from carrel.api.security import GuardedRoute, MayAudit
from carrel.api.state import App

router = APIRouter(prefix="/v1/audit", tags=["audit"], route_class=GuardedRoute)


@router.get("")
async def list_audit_events(principal: MayAudit, app: App, query: Annotated[AuditQuery, Query()]) -> AuditList:
    """Who did what to what, newest first."""
    page = await app.audit.listed(principal, query.wanted(), limit=query.limit, cursor=query.cursor)
    return AuditList(items=[AuditEventView.of(line) for line in page.items], next_cursor=page.next_cursor)
