"""Members of the tenant."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from carrel.api.schemas.members import MemberChange, MemberList, MemberView
from carrel.api.schemas.types import Paging
from carrel.api.security import GuardedRoute, MayExport, MayManageMembers
from carrel.api.state import App
from carrel.domain.ids import UserId

router = APIRouter(prefix="/v1/members", tags=["members"], route_class=GuardedRoute)


@router.get("")
async def list_members(principal: MayManageMembers, app: App, query: Annotated[Paging, Query()]) -> MemberList:
    """Who belongs to the tenant, and as what; newest first, suspended members too."""
    page = await app.members.listed(principal, limit=query.limit, cursor=query.cursor)
    return MemberList(items=[MemberView.of(member) for member in page.items], next_cursor=page.next_cursor)


@router.get("/{user_id}")
async def get_member(principal: MayManageMembers, app: App, user_id: UUID) -> MemberView:
    """One member."""
    return MemberView.of(await app.members.get(principal, UserId(user_id)))


@router.patch("/{user_id}", responses={409: {}})
async def change_member(principal: MayManageMembers, app: App, user_id: UUID, change: MemberChange) -> MemberView:
    """Give a member another role, suspend one, or end that. It counts from the next request on.

    403 `above_your_role`, 409 `last_owner`.
    """
    changed = await app.members.change(principal, UserId(user_id), role=change.role, status=change.status)
    return MemberView.of(changed)


@router.delete("/{user_id}", status_code=204, responses={409: {}})
async def remove_member(principal: MayManageMembers, app: App, user_id: UUID) -> None:
    """Remove a member, with the keys, private sources and chats of that person. 409 `last_owner`."""
    await app.members.remove(principal, UserId(user_id))


@router.post("/{user_id}/ownership", responses={409: {}})
async def hand_over_ownership(principal: MayExport, app: App, user_id: UUID) -> MemberView:
    """Make a member an owner, and become an admin. 409 `already_owner`, `member_suspended`."""
    return MemberView.of(await app.members.hand_over(principal, UserId(user_id)))
