"""Members: listed, changed, suspended, removed, and ownership handed over.

Nobody gives a role above their own, nobody touches a member above themselves, and a tenant keeps an active owner.
"""

from carrel.domain.access import Principal, PrincipalKind, enter_unlimited
from carrel.domain.audit import Act
from carrel.domain.errors import Conflict, Denied, NotFound, Unauthenticated
from carrel.domain.ids import UserId
from carrel.domain.jobs import JobKind
from carrel.domain.rights import RIGHTS, Permission, Role, is_above
from carrel.store import audit, jobs, members
from carrel.store.members import Member, MemberStatus
from carrel.store.pages import Page
from carrel.store.transaction import Database, Transaction

__all__ = ["Member", "MemberStatus", "Members", "demand_rank", "held"]


class Members:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def listed(self, principal: Principal, *, limit: int = 50, cursor: str | None = None) -> Page[Member]:
        """Raises Denied, Invalid `invalid_cursor`."""
        async with self._database.transaction(enter_unlimited(principal, Permission.MEMBERS)) as tx:
            return await members.listed(tx, limit=limit, cursor=cursor)

    async def get(self, principal: Principal, user: UserId) -> Member:
        """Raises Denied, NotFound."""
        async with self._database.transaction(enter_unlimited(principal, Permission.MEMBERS)) as tx:
            return await members.get(tx, user)

    async def named(self, principal: Principal, email: str) -> Member | None:
        """Raises Denied."""
        async with self._database.transaction(enter_unlimited(principal, Permission.MEMBERS)) as tx:
            return await members.named(tx, email)

    async def change(
        self, principal: Principal, user: UserId, *, role: Role | None = None, status: MemberStatus | None = None
    ) -> Member:
        """None leaves a thing as it is; what changes counts from the next request on.

        Raises Denied (also `above_your_role`), NotFound, Conflict `last_owner`.
        """
        async with self._database.transaction(enter_unlimited(principal, Permission.MEMBERS)) as tx:
            rank = await held(tx, principal, Permission.MEMBERS)
            member = await members.get(tx, user)
            demand_rank(rank, member.role)
            demand_rank(rank, role or member.role)
            changed = await members.change(tx, member, role=role or member.role, status=status or member.status)
            await audit.record(
                tx, Act.MEMBER_CHANGED, user, facts={"role": changed.role.value, "status": changed.status.value}
            )
        return changed

    async def remove(self, principal: Principal, user: UserId) -> None:
        """Out at once, with every key that the person made; a job forgets what was private.

        Raises Denied (also `above_your_role`), NotFound, Conflict `last_owner`.
        """
        async with self._database.transaction(enter_unlimited(principal, Permission.MEMBERS)) as tx:
            rank = await held(tx, principal, Permission.MEMBERS)
            member = await members.get(tx, user)
            demand_rank(rank, member.role)
            await members.remove(tx, member)
            await audit.record(tx, Act.MEMBER_REMOVED, user, facts={"role": member.role.value})
            await jobs.enqueue(tx, JobKind.FAREWELL, user, owner=user)

    async def hand_over(self, principal: Principal, user: UserId) -> Member:
        """The member becomes an owner, and the owner who hands over an admin.

        Raises Denied, NotFound, Conflict `member_suspended`, Conflict `already_owner`.
        """
        async with self._database.transaction(enter_unlimited(principal, Permission.EXPORT)) as tx:
            await held(tx, principal, Permission.EXPORT)
            member = await members.get(tx, user)
            if member.counts_as_owner:
                raise Conflict("This member is an owner already.", code="already_owner")
            if member.status is MemberStatus.SUSPENDED:
                raise Conflict("This member is suspended: end that first.", code="member_suspended")
            owner = await members.change(tx, member, role=Role.OWNER, status=member.status)
            if principal.person is not None:
                former = await members.get(tx, principal.person)
                await members.change(tx, former, role=Role.ADMIN, status=former.status)
            await audit.record(tx, Act.OWNERSHIP_GIVEN, user)
        return owner


async def held(tx: Transaction, principal: Principal, permission: Permission) -> Role:
    """As what the principal deals with members, whom nobody else changes before the commit.

    A person is judged once more by the row that is held now: two who change each other at the same time come one after
    the other. A key does no more than an admin may; the console has every right. Raises Denied, Unauthenticated.
    """
    await members.hold(tx)
    if principal.person is None:
        return Role.OWNER if principal.kind is PrincipalKind.CONSOLE else Role.ADMIN
    role = await _role_now(tx, principal.person)
    if role not in RIGHTS[permission].roles:
        raise Denied(f"As {role.value} you may not {RIGHTS[permission].meaning}.", code="role_lacks_permission")
    return role if principal.is_person else Role.ADMIN


def demand_rank(rank: Role, role: Role) -> None:
    """Raises Denied `above_your_role`."""
    if is_above(role, rank):
        raise Denied(f"As {rank.value} you deal with no {role.value}.", code="above_your_role")


async def _role_now(tx: Transaction, person: UserId) -> Role:
    try:
        member = await members.get(tx, person)
    except NotFound as error:
        raise _gone() from error
    if member.status is not MemberStatus.ACTIVE:
        raise _gone()
    return member.role


def _gone() -> Unauthenticated:
    return Unauthenticated("You have no way into this organisation any more.", code="tenant_inactive")
