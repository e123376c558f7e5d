"""Invitations as rows: one open at most for an address, accepted once, found by a definer function by who holds one."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from carrel.domain.errors import NotFound
from carrel.domain.ids import InvitationId, TenantId, UserId
from carrel.domain.rights import RIGHTS, Permission, Role
from carrel.store.pages import Page, Place, page, place_of
from carrel.store.transaction import Statement, Transaction

_LISTED: Final = "invitations"
_COLUMNS = """
    id, email, role, invited_by, expires_at, created_at,
    case when accepted_at is not null then 'accepted' when revoked_at is not null then 'revoked'
         when expires_at <= now() then 'expired' else 'open' end as status
"""
_REVOKE_FORMER = Statement("""
    update invitations set revoked_at = now()
    where tenant_id = :tenant and email = :email and accepted_at is null and revoked_at is null
""")
_ADD = Statement(f"""
    insert into invitations (tenant_id, id, email, role, mac, invited_by, expires_at)
    values (:tenant, :id, :email, :role, :mac, :invited_by, now() + :lifetime) returning {_COLUMNS}
""")
_GET = Statement(f"select {_COLUMNS} from invitations where tenant_id = :tenant and id = :id")
_LIST = Statement(f"""
    select {_COLUMNS} from invitations
    where tenant_id = :tenant and (:moment::timestamptz is null or (created_at, id) < (:moment, :id::uuid))
    order by created_at desc, id desc limit :most
""")
_REVOKE = Statement("""
    update invitations set revoked_at = now()
    where tenant_id = :tenant and id = :id and accepted_at is null and revoked_at is null and expires_at > now()
""")
# Whoever invited must be able to give the role still: an invitation is no way to keep what was taken away.
_FOUNDED: Final = """
    (i.invited_by is null or exists (
        select from memberships m join users u on u.id = m.user_id
        where m.tenant_id = i.tenant_id and m.user_id = i.invited_by and m.status = 'active' and u.status = 'active'
          and m.role = any (:inviters::text[])
          and array_position(:ranks::text[], m.role) <= array_position(:ranks::text[], i.role)))
"""
_ACCEPT = Statement(f"""
    update invitations i set accepted_at = now()
    where i.tenant_id = :tenant and i.id = :id and i.accepted_at is null and i.revoked_at is null
      and i.expires_at > now() and {_FOUNDED}
""")
_REVOKE_UNFOUNDED = Statement(f"""
    update invitations i set revoked_at = now()
    where i.tenant_id = :tenant and i.accepted_at is null and i.revoked_at is null and not {_FOUNDED}
""")
_RULES: Final = {
    "inviters": [role.value for role in Role if role in RIGHTS[Permission.MEMBERS].roles],
    "ranks": [role.value for role in Role],
}
_FIND = Statement("select * from find_invitation(:id)")


class InvitationStatus(StrEnum):
    OPEN = "open"
    ACCEPTED = "accepted"
    REVOKED = "revoked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Invitation:
    """As a tenant's managers see it; never what the letter holds."""

    id: InvitationId
    email: str
    role: Role
    status: InvitationStatus
    invited_by: UserId | None
    expires_at: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewInvitation:
    id: InvitationId
    email: str
    role: Role
    mac: bytes
    invited_by: UserId | None
    lifetime: timedelta


@dataclass(frozen=True, slots=True)
class FoundInvitation:
    """What the lookup says before the tenant is known. `live`: open, and its tenant active."""

    tenant: TenantId
    email: str
    role: Role
    mac: bytes
    live: bool


async def add(tx: Transaction, new: NewInvitation) -> Invitation:
    """What was open for the address before is revoked. The tenant's members are held."""
    await tx.run(_REVOKE_FORMER, email=new.email)
    row = await tx.row(
        _ADD,
        id=new.id,
        email=new.email,
        role=new.role,
        mac=new.mac,
        invited_by=new.invited_by,
        lifetime=new.lifetime,
    )
    return _invitation(row)


async def get(tx: Transaction, invitation: InvitationId) -> Invitation:
    """Raises NotFound."""
    row = await tx.row(_GET, id=invitation)
    if row is None:
        raise NotFound
    return _invitation(row)


async def listed(tx: Transaction, *, limit: int, cursor: str | None) -> Page[Invitation]:
    """Newest first, also those that are over."""
    place = place_of(cursor, of=_LISTED)
    rows = await tx.rows(_LIST, moment=place and place.created_at, id=place and place.id, most=limit + 1)
    places = [Place(row["created_at"], row["id"]) for row in rows]
    return page([_invitation(row) for row in rows], places, limit, of=_LISTED)


async def revoke(tx: Transaction, invitation: InvitationId) -> None:
    """Raises NotFound when there is no such invitation, or it is open no more."""
    if not await tx.run(_REVOKE, id=invitation):
        raise NotFound


async def accept(tx: Transaction, invitation: InvitationId) -> bool:
    """Once: False when it is open no more, or who invited may not give the role any more. The members are held."""
    return bool(await tx.run(_ACCEPT, id=invitation, **_RULES))


async def revoke_unfounded(tx: Transaction) -> None:
    """Those of members who may not invite to such a role any more. The members are held."""
    await tx.run(_REVOKE_UNFOUNDED, **_RULES)


async def find(tx: Transaction, invitation: InvitationId) -> FoundInvitation | None:
    row = await tx.row(_FIND, id=invitation)
    if row is None:
        return None
    return FoundInvitation(TenantId(row["tenant_id"]), row["email"], Role(row["role"]), row["mac"], row["live"])


def _invitation(row: Any) -> Invitation:
    return Invitation(
        id=InvitationId(row["id"]),
        email=row["email"],
        role=Role(row["role"]),
        status=InvitationStatus(row["status"]),
        invited_by=row["invited_by"] and UserId(row["invited_by"]),
        expires_at=row["expires_at"],
        created_at=row["created_at"],
    )
