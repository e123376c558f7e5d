"""Joining: an invitation is accepted, by who has an account with its address already, or by somebody new.

The letter proves the address, so a new account needs no code. It does not prove who is behind an account that is there:
that takes the account's password, or its session.
"""

import hmac
from dataclasses import dataclass
from typing import NoReturn

from carrel.domain.access import Principal, for_accounts
from carrel.domain.audit import Act
from carrel.domain.errors import Denied, Invalid, Unauthenticated
from carrel.domain.ids import InvitationId, TenantId, UserId, new_id
from carrel.domain.rights import Role
from carrel.store import accounts, audit, invitations, members
from carrel.store.invitations import FoundInvitation
from carrel.store.transaction import Database, Transaction
from carrel.tenancy.brakes import Brakes, Try
from carrel.tenancy.invitations import invalid, parsed
from carrel.tenancy.passwords import Passwords, demand_strength

__all__ = ["Acceptance", "Joined", "Joining"]


@dataclass(frozen=True, slots=True)
class Acceptance:
    """`name` and `password` make an account; the password alone proves one that is there; a session needs neither."""

    token: str
    name: str | None = None
    password: str | None = None


@dataclass(frozen=True, slots=True)
class Joined:
    tenant: TenantId
    user: UserId
    email: str
    role: Role


@dataclass(frozen=True, slots=True)
class _Newcomer:
    name: str
    hash: str


class Joining:
    def __init__(self, database: Database, passwords: Passwords, brakes: Brakes, *, pepper: bytes) -> None:
        self._database = database
        self._passwords = passwords
        self._brakes = brakes
        self._pepper = pepper

    async def accept(self, wish: Acceptance, *, origin: str, principal: Principal | None = None) -> Joined:
        """`origin` is the network that it comes from. Who is a member already stays what they are.

        Raises Throttled; Invalid `invalid_invitation`, `missing`, `weak_password`; Unauthenticated `sign_in_required`,
        `invalid_credentials`; Denied `invitation_of_another`.
        """
        invitation, found = await self._found(wish.token, origin)
        if principal is not None:
            return await self._join(invitation, found, await self._person(principal, found))
        async with self._database.transaction(for_accounts()) as tx:
            knocking = await accounts.knocking(tx, found.email)
        if knocking is None:
            return await self._join(invitation, found, await self._newcomer(wish, found))
        if wish.password is None:
            _ask_for_sign_in()
        await self._brakes.on(Try.PASSWORD, account=found.email, origin=origin)
        if not await self._passwords.proves(wish.password, knocking.hash) or not knocking.welcome:
            raise Unauthenticated("This is not the password of the account.", code="invalid_credentials")
        return await self._join(invitation, found, knocking.user)

    async def _found(self, token: str, origin: str) -> tuple[InvitationId, FoundInvitation]:
        await self._brakes.on(Try.CODE, account=token, origin=origin)
        invitation, mac = parsed(self._pepper, token)
        async with self._database.transaction(for_accounts()) as tx:
            found = await invitations.find(tx, invitation)
        if found is None or not hmac.compare_digest(mac, found.mac) or not found.live:
            raise invalid()
        return invitation, found

    async def _person(self, principal: Principal, found: FoundInvitation) -> UserId:
        if not principal.is_person or principal.person is None:
            raise Denied("Only a person joins an organisation: a key does not.", code="person_required")
        async with self._database.transaction(for_accounts()) as tx:
            person = await accounts.get(tx, principal.person)
        if person.email != found.email:
            raise Denied("This invitation is for another address than yours.", code="invitation_of_another")
        return person.id

    async def _newcomer(self, wish: Acceptance, found: FoundInvitation) -> _Newcomer:
        if wish.name is None:
            raise Invalid("There is no account with this address yet: give a name.", code="missing", field="name")
        if wish.password is None:
            raise Invalid("There is no account yet: choose a password.", code="missing", field="password")
        demand_strength(wish.password, email=found.email)
        return _Newcomer(wish.name, await self._passwords.hash(wish.password))

    async def _join(self, invitation: InvitationId, found: FoundInvitation, who: UserId | _Newcomer) -> Joined:
        user = UserId(new_id()) if isinstance(who, _Newcomer) else who
        async with self._database.transaction(for_accounts(tenant=found.tenant, user=user)) as tx:
            await members.hold(tx)
            if not await invitations.accept(tx, invitation):
                raise invalid()
            if isinstance(who, _Newcomer):
                await _settle(tx, user, found.email, who)
            await members.add(tx, user, found.role)
            member = await members.get(tx, user)
            await audit.record(tx, Act.INVITATION_ACCEPTED, invitation, facts={"role": member.role.value})
        return Joined(found.tenant, user, found.email, member.role)


async def _settle(tx: Transaction, user: UserId, email: str, newcomer: _Newcomer) -> None:
    if not await accounts.add(tx, user, email=email, name=newcomer.name):
        _ask_for_sign_in()  # somebody registered the address a moment ago
    await accounts.set_password(tx, user, newcomer.hash)


def _ask_for_sign_in() -> NoReturn:
    raise Unauthenticated(
        "There is an account with this address: send its password, or sign in first.", code="sign_in_required"
    )
