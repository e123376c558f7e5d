"""Members: who belongs to a tenant, and as what. Everything that changes a membership goes through this module.

A tenant never loses its last active owner, also not when two owners step down at the same time: whoever changes a
membership holds the tenant's members until the commit.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from carrel.domain.errors import Conflict, NotFound
from carrel.domain.ids import SourceId, UserId
from carrel.domain.rights import Role
from carrel.store import invitations
from carrel.store.pages import Page, Place, page, place_of
from carrel.store.transaction import Statement, Transaction

_LISTED: Final = "members"
_COLUMNS = "m.user_id, u.email, u.name, m.role, m.status, m.created_at"
_HOLD = Statement("select pg_advisory_xact_lock(hashtextextended('members ' || (:tenant::uuid)::text, 0))")
_ADD = Statement("""
    insert into memberships (tenant_id, user_id, role, issuer) values (:tenant, :user, :role, :issuer)
    on conflict do nothing
""")
_GET = Statement(f"""
    select {_COLUMNS} from memberships m join users u on u.id = m.user_id
    where m.tenant_id = :tenant and m.user_id = :user
""")
_NAMED = Statement(f"""
    select {_COLUMNS} from memberships m join users u on u.id = m.user_id
    where m.tenant_id = :tenant and u.email = :email
""")
_LIST = Statement(f"""
    select {_COLUMNS} from memberships m join users u on u.id = m.user_id
    where m.tenant_id = :tenant and (:moment::timestamptz is null or (m.created_at, m.user_id) < (:moment, :id::uuid))
    order by m.created_at desc, m.user_id desc limit :most
""")
_CHANGE = Statement("""
    update memberships set (role, status) = (:role, :status) where tenant_id = :tenant and user_id = :user
""")
_REMOVE = Statement("delete from memberships where tenant_id = :tenant and user_id = :user")
_OTHER_OWNER = Statement("""
    select exists (select from memberships m join users u on u.id = m.user_id
                   where m.tenant_id = :tenant and m.user_id <> :user and m.role = 'owner' and m.status = 'active'
                     and u.status = 'active')
""")
_BY_GROUPS: Final = "issuer = :issuer and status = 'active' and role <> 'owner'"
_FOLLOW = Statement(f"""
    update memberships set (role) = row (:role)
    where tenant_id = :tenant and user_id = :user and role <> :role and {_BY_GROUPS}
""")
_LEAVE = Statement(f"delete from memberships where tenant_id = :tenant and user_id = :user and {_BY_GROUPS}")
_LEAVE_ROLE = Statement(f"delete from memberships where tenant_id = :tenant and role = :role and {_BY_GROUPS}")
_REVOKE_KEYS = Statement("""
    update api_keys set revoked_at = now() where tenant_id = :tenant and made_by = :user and revoked_at is null
""")
_PRIVATE_SOURCES = Statement("""
    select s.id from sources s
    where s.tenant_id = :tenant and s.owner_id = :user and s.deleted_at is null
      and s.created_at < coalesce((select m.created_at from memberships m
                                   where m.tenant_id = :tenant and m.user_id = :user), 'infinity')
    order by s.id
""")
_DROP_CHATS = Statement("""
    delete from chats c where c.tenant_id = :tenant and c.owner_id = :user
      and c.created_at < coalesce((select m.created_at from memberships m
                                   where m.tenant_id = :tenant and m.user_id = :user), 'infinity')
""")
_DROP_MEMOS = Statement("delete from idempotency_keys where tenant_id = :tenant and principal_id = :user")


class MemberStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class Member:
    """A person as the other members of one tenant see them."""

    user: UserId
    email: str
    name: str
    role: Role
    status: MemberStatus
    joined_at: datetime

    @property
    def counts_as_owner(self) -> bool:
        return self.role is Role.OWNER and self.status is MemberStatus.ACTIVE


async def hold(tx: Transaction) -> None:
    """Nobody else changes this tenant's members before the commit."""
    await tx.run(_HOLD)


async def add(tx: Transaction, user: UserId, role: Role, *, issuer: str | None = None) -> bool:
    """False when the person is a member already, and stays what they are. `issuer` is who vouches for them."""
    await hold(tx)
    return bool(await tx.run(_ADD, user=user, role=role, issuer=issuer))


async def get(tx: Transaction, user: UserId) -> Member:
    """Raises NotFound."""
    row = await tx.row(_GET, user=user)
    if row is None:
        raise NotFound
    return _member(row)


async def named(tx: Transaction, email: str) -> Member | None:
    row = await tx.row(_NAMED, email=email)
    return _member(row) if row else None


async def listed(tx: Transaction, *, limit: int, cursor: str | None) -> Page[Member]:
    """Newest first."""
    place = place_of(cursor, of=_LISTED)
    rows = await tx.rows(_LIST, moment=place and place.created_at, id=place and place.id, most=limit + 1)
    places = [Place(row["created_at"], row["user_id"]) for row in rows]
    return page([_member(row) for row in rows], places, limit, of=_LISTED)


async def change(tx: Transaction, member: Member, *, role: Role, status: MemberStatus) -> Member:
    """The members are held already, and `member` was read since. Invitations that the member may not make any more end.

    Raises Conflict `last_owner`.
    """
    if not (role is Role.OWNER and status is MemberStatus.ACTIVE):
        await _demand_other_owner(tx, member)
    await tx.run(_CHANGE, user=member.user, role=role, status=status)
    await invitations.revoke_unfounded(tx)
    return await get(tx, member.user)


async def remove(tx: Transaction, member: Member) -> None:
    """Keys and open invitations that the person made are revoked. As `change`, raises Conflict `last_owner`."""
    await _demand_other_owner(tx, member)
    await tx.run(_REMOVE, user=member.user)
    await tx.run(_REVOKE_KEYS, user=member.user)
    await invitations.revoke_unfounded(tx)


async def follow(tx: Transaction, user: UserId, role: Role | None, *, issuer: str) -> bool:
    """What the person's groups at the issuer give by now; None takes the membership away, and keys rest with it.

    False when nothing changed: direct members, owners and suspended ones are not what groups say.
    """
    await hold(tx)
    if role is None:
        changed = await tx.run(_LEAVE, user=user, issuer=issuer)
    else:
        changed = await tx.run(_ADD, user=user, role=role, issuer=issuer) or await tx.run(
            _FOLLOW, user=user, role=role, issuer=issuer
        )
    if changed:
        await invitations.revoke_unfounded(tx)
    return bool(changed)


async def leave_role(tx: Transaction, role: Role, *, issuer: str) -> int:
    """All who have the role by groups of the issuer are members no more; how many these were."""
    await hold(tx)
    left = await tx.run(_LEAVE_ROLE, role=role, issuer=issuer)
    await invitations.revoke_unfounded(tx)
    return left


async def private_sources_left(tx: Transaction, user: UserId) -> list[SourceId]:
    """Of a person who has left, or from before they joined again; in a transaction of that person's."""
    return [SourceId(row["id"]) for row in await tx.rows(_PRIVATE_SOURCES, user=user)]


async def forget_chats(tx: Transaction, user: UserId) -> int:
    """As `private_sources_left`: how many chats went, with their messages and what was kept of answers."""
    await tx.run(_DROP_MEMOS, user=user)
    return await tx.run(_DROP_CHATS, user=user)


async def _demand_other_owner(tx: Transaction, member: Member) -> None:
    if member.counts_as_owner and not await tx.value(_OTHER_OWNER, user=member.user):
        raise Conflict("A tenant keeps at least one active owner: make another one first.", code="last_owner")


def _member(row: Any) -> Member:
    return Member(
        user=UserId(row["user_id"]),
        email=row["email"],
        name=row["name"],
        role=Role(row["role"]),
        status=MemberStatus(row["status"]),
        joined_at=row["created_at"],
    )
