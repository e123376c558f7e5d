"""Invitations to the tenant, and how they are accepted."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from carrel.api.idempotency import IdempotencyKey
from carrel.api.origin import Origin
from carrel.api.schemas.members import (
    AcceptedInvitation,
    InvitationList,
    InvitationView,
    JoinedView,
    NewInvitation,
)
from carrel.api.schemas.types import Paging
from carrel.api.security import GuardedRoute, MayManageMembers, perhaps_principal
from carrel.api.state import App
from carrel.domain.access import Principal
from carrel.domain.ids import InvitationId

router = APIRouter(prefix="/v1/invitations", tags=["members"], route_class=GuardedRoute)


@router.post("", status_code=201, responses={409: {}})
async def create_invitation(
    principal: MayManageMembers, app: App, wish: NewInvitation, once: IdempotencyKey
) -> InvitationView:
    """Invite an address: a letter goes to it, and the newest is the only one that counts.

    403 `above_your_role`, 409 `already_member`; 429 after ten letters an hour to one address.
    """
    memo = once.memo(wish, 201, InvitationView.of)
    return InvitationView.of(await app.invitations.create(principal, wish.wish(), memo=memo))


@router.post("/accept", responses={401: {}, 403: {}, 429: {}, 503: {}})
async def accept_invitation(
    principal: Annotated[Principal | None, Depends(perhaps_principal)],
    app: App,
    wish: AcceptedInvitation,
    origin: Origin,
) -> JoinedView:
    """Join by the token of the letter, once. Public, and always limited.

    401 `sign_in_required` where there is an account already, 403 `invitation_of_another`, 422 `invalid_invitation`.
    """
    return JoinedView.of(await app.entrance.joining.accept(wish.wish(), origin=origin, principal=principal))


@router.get("")
async def list_invitations(principal: MayManageMembers, app: App, query: Annotated[Paging, Query()]) -> InvitationList:
    """Invitations with what became of them, newest first."""
    page = await app.invitations.listed(principal, limit=query.limit, cursor=query.cursor)
    return InvitationList(items=[InvitationView.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/{invitation_id}")
async def get_invitation(principal: MayManageMembers, app: App, invitation_id: UUID) -> InvitationView:
    """One invitation."""
    return InvitationView.of(await app.invitations.get(principal, InvitationId(invitation_id)))


@router.delete("/{invitation_id}", status_code=204)
async def revoke_invitation(principal: MayManageMembers, app: App, invitation_id: UUID) -> None:
    """Make an invitation useless. 404 also when it is open no more."""
    await app.invitations.revoke(principal, InvitationId(invitation_id))
