"""Accounts: who somebody is, where a member, with which rights, one's own sessions; and all people, for operators."""

from collections.abc import Sequence
from dataclasses import dataclass

from carrel.domain.access import Principal, PrincipalKind, can, for_accounts, require
from carrel.domain.audit import Act
from carrel.domain.errors import Conflict, Invalid, Unauthenticated
from carrel.domain.ids import SessionId, UserId
from carrel.domain.rights import Permission
from carrel.store import accounts, audit, sign_ins
from carrel.store.accounts import Membership, User
from carrel.store.pages import Page
from carrel.store.sign_ins import SessionRow
from carrel.store.transaction import Database, Transaction
from carrel.tenancy.brakes import Brakes, Try
from carrel.tenancy.notices import tell
from carrel.tenancy.passwords import Passwords, demand_strength

__all__ = ["Accounts", "Me", "Membership", "SessionRow", "User"]


@dataclass(frozen=True, slots=True)
class Me:
    """`current` is the membership that the credential names; `permissions` are what it gives there."""

    user: User
    memberships: Sequence[Membership]
    current: Membership | None
    permissions: Sequence[Permission]


class Accounts:
    def __init__(self, database: Database, *, passwords: Passwords, brakes: Brakes) -> None:
        self._database = database
        self._passwords = passwords
        self._brakes = brakes

    async def me(self, principal: Principal) -> Me:
        """Raises Denied."""
        user = _person(principal)
        async with self._database.transaction(for_accounts()) as tx:
            return await _me(tx, principal, await accounts.get(tx, user))

    async def rename(self, principal: Principal, name: str | None) -> Me:
        """None leaves the name as it is. Raises Denied."""
        user = _person(principal)
        async with self._database.transaction(for_accounts()) as tx:
            found = await accounts.get(tx, user) if name is None else await accounts.rename(tx, user, name)
            return await _me(tx, principal, found)

    async def change_password(self, principal: Principal, current: str, new: str, *, origin: str) -> None:
        """Ends every other session. Raises Denied, Throttled, Conflict `no_password`, Invalid `wrong_password` and
        `weak_password`.
        """
        user = _person(principal)
        await self._brakes.on(Try.PASSWORD, account=str(user), origin=origin)
        async with self._database.transaction(for_accounts()) as tx:
            person, hashed = await accounts.get(tx, user), await accounts.password_of(tx, user)
            memberships = await accounts.memberships(tx, user)
        if hashed is None:
            raise Conflict("This account has no password: it comes in by another way.", code="no_password")
        if not await self._passwords.proves(current, hashed):
            raise Invalid("This is not the present password.", code="wrong_password", field="current")
        demand_strength(new, email=person.email, field="new")
        renewed = await self._passwords.hash(new)

        async def effect(tx: Transaction) -> None:
            if not await accounts.change_password(tx, user, former=hashed, hashed=renewed):
                raise Conflict("The password was changed at the same time.", code="password_changed")
            epoch = await accounts.raise_epoch(tx, user)
            if (session := _session(principal)) is not None:
                await sign_ins.keep(tx, user, session, epoch=epoch)

        await tell(self._database, Act.PASSWORD_CHANGED, user, memberships, effect=effect, by=user)

    async def sessions(self, principal: Principal, *, limit: int = 50, cursor: str | None = None) -> Page[SessionRow]:
        """One's own living ones. Raises Denied, Invalid `invalid_cursor`."""
        user = _person(principal)
        async with self._database.transaction(for_accounts()) as tx:
            return await sign_ins.listed(tx, user, limit=limit, cursor=cursor)

    async def end_session(self, principal: Principal, session: SessionId) -> None:
        """Raises Denied, NotFound."""
        user = _person(principal)
        async with self._database.transaction(for_accounts(tenant=principal.tenant, user=user)) as tx:
            await sign_ins.end(tx, user, session)
            if principal.tenant is not None:
                await audit.record(tx, Act.SESSION_ENDED, session)

    async def end_other_sessions(self, principal: Principal) -> None:
        """All but the one that asks. Raises Denied."""
        user = _person(principal)
        async with self._database.transaction(for_accounts(tenant=principal.tenant, user=user)) as tx:
            await sign_ins.end_others(tx, user, but=_session(principal))
            if principal.tenant is not None:
                await audit.record(tx, Act.SESSIONS_ENDED, user)

    async def listed(self, principal: Principal, *, limit: int = 50, cursor: str | None = None) -> Page[User]:
        """All people, for operators. Raises Denied, Invalid `invalid_cursor`."""
        require(principal, Permission.PLATFORM)
        async with self._database.transaction(for_accounts()) as tx:
            return await accounts.listed(tx, limit=limit, cursor=cursor)

    async def suspend(self, principal: Principal, name: str) -> User:
        """By address or id: everywhere, at once, until `resume`. Raises Denied, NotFound."""
        return await self._set_status(principal, name, "suspended", Act.USER_SUSPENDED)

    async def resume(self, principal: Principal, name: str) -> User:
        """May sign in again; what ended with the suspension stays ended. Raises Denied, NotFound."""
        return await self._set_status(principal, name, "active", Act.USER_RESUMED)

    async def _set_status(self, principal: Principal, name: str, status: str, act: Act) -> User:
        require(principal, Permission.PLATFORM)
        async with self._database.transaction(for_accounts()) as tx:
            user = await accounts.named(tx, name.strip().lower())
            memberships = await accounts.memberships(tx, user.id)

        async def effect(tx: Transaction) -> None:
            await accounts.set_status(tx, user.id, status)

        await tell(self._database, act, user.id, memberships, effect=effect, by=None)
        async with self._database.transaction(for_accounts()) as tx:
            return await accounts.get(tx, user.id)


async def _me(tx: Transaction, principal: Principal, user: User) -> Me:
    memberships = await accounts.memberships(tx, user.id)
    current = next((one for one in memberships if one.tenant == principal.tenant), None)
    return Me(user, memberships, current, [one for one in Permission if can(principal, one)])


def _person(principal: Principal) -> UserId:
    """Raises Denied for whoever is no person."""
    require(principal, Permission.ACCOUNT)
    if principal.user is None:
        raise Unauthenticated("Nobody is signed in.")
    return principal.user


def _session(principal: Principal) -> SessionId | None:
    """The session that asks; None for who came in through another issuer."""
    if principal.kind is not PrincipalKind.SESSION or principal.credential is None:
        return None
    return SessionId(principal.credential)
