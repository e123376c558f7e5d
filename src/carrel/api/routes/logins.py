"""What groups of another issuer give, for operators; and the choice of one tenant, for people of several."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from carrel.api.idempotency import IdempotencyKey
from carrel.api.schemas.logins import Choice, ChosenToken, GroupGrantList, GroupGrantView, NewGroupGrant
from carrel.api.schemas.types import Paging
from carrel.api.security import GuardedRoute, MayOperate, MaySeeAccount
from carrel.api.state import App
from carrel.domain.ids import GroupGrantId

router = APIRouter(prefix="/v1", route_class=GuardedRoute)


@router.post("/group-grants", status_code=201, tags=["sign-on"], responses={404: {}, 409: {}})
async def create_group_grant(
    principal: MayOperate, app: App, wish: NewGroupGrant, once: IdempotencyKey
) -> GroupGrantView:
    """Give whoever comes with a group a role in a tenant. 409 `group_grant_exists`."""
    made = await app.groups.create(
        principal, wish.tenant(), group=wish.group, role=wish.role, issuer=wish.issuer, once=once.key
    )
    return GroupGrantView.of(made)


@router.get("/group-grants", tags=["sign-on"])
async def list_group_grants(principal: MayOperate, app: App, query: Annotated[Paging, Query()]) -> GroupGrantList:
    """What groups give, newest first."""
    page = await app.groups.listed(principal, limit=query.limit, cursor=query.cursor)
    return GroupGrantList(items=[GroupGrantView.of(grant) for grant in page.items], next_cursor=page.next_cursor)


@router.delete("/group-grants/{group_grant_id}", status_code=204, tags=["sign-on"])
async def revoke_group_grant(principal: MayOperate, app: App, group_grant_id: UUID) -> None:
    """Take the role away, at once, from everybody who has it in this tenant by groups."""
    await app.groups.revoke(principal, GroupGrantId(group_grant_id))


@router.post("/auth/exchange", tags=["sign-on"], responses={404: {}})
async def exchange(principal: MaySeeAccount, app: App, wish: Choice) -> ChosenToken:
    """A token of one tenant, for a person of several. It ends with the membership, and with what it was made from."""
    token, lifetime = await app.exchange.exchange(principal, wish.tenant)
    return ChosenToken(access_token=token, expires_in=int(lifetime.total_seconds()))
