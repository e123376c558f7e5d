"""Invitations: a letter to an address, by which whoever reads that mail joins the tenant, once, within seven days.

The token in the letter follows from the pepper and the invitation's id, so nothing secret waits anywhere, and the row
keeps a MAC of it. The newest invitation of an address is the only one that is open.
"""

import hmac
import re
import uuid
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Final

from carrel.domain.access import Principal, enter_unlimited, for_accounts
from carrel.domain.audit import Act
from carrel.domain.errors import Conflict, Invalid
from carrel.domain.ids import InvitationId, new_id
from carrel.domain.mail import Letter, MailKind, WaitingMail
from carrel.domain.rights import Permission, Role
from carrel.store import audit, idempotency, invitations, mails, members, tenants
from carrel.store.idempotency import Memo
from carrel.store.invitations import Invitation, InvitationStatus, NewInvitation
from carrel.store.pages import Page
from carrel.store.transaction import Database, Transaction
from carrel.tenancy.brakes import Brakes, Try
from carrel.tenancy.members import demand_rank, held

__all__ = ["Invitation", "InvitationLetters", "InvitationStatus", "InvitationWish", "Invitations"]

LIFETIME: Final = timedelta(days=7)

_TOKEN: Final = re.compile(r"ci_([0-9a-f]{32})_([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True)
class InvitationWish:
    """`email` is in the one form in which addresses are kept."""

    email: str
    role: Role


class Invitations:
    def __init__(self, database: Database, brakes: Brakes, *, pepper: bytes) -> None:
        self._database = database
        self._brakes = brakes
        self._pepper = pepper

    async def create(
        self, principal: Principal, wish: InvitationWish, *, memo: Memo[Invitation] | None = None
    ) -> Invitation:
        """What was open for the address before is revoked, and the letter is on its way at the commit.

        A letter goes to whoever is named, in words that a tenant has chosen: so they are few, whatever limits are set.
        Raises Denied (also `above_your_role`), Conflict `already_member`, Throttled.
        """
        grant = enter_unlimited(principal, Permission.MEMBERS)
        await self._brakes.look(Try.INVITATION, account=wish.email, origin=str(grant.tenant))
        async with self._database.transaction(grant) as tx:
            made = await idempotency.once(tx, memo, lambda: self._add(tx, principal, wish))
        await self._brakes.count(Try.INVITATION, account=wish.email, origin=str(grant.tenant))
        return made

    async def listed(self, principal: Principal, *, limit: int = 50, cursor: str | None = None) -> Page[Invitation]:
        """Raises Denied, Invalid `invalid_cursor`."""
        async with self._database.transaction(enter_unlimited(principal, Permission.MEMBERS)) as tx:
            return await invitations.listed(tx, limit=limit, cursor=cursor)

    async def get(self, principal: Principal, invitation: InvitationId) -> Invitation:
        """Raises Denied, NotFound."""
        async with self._database.transaction(enter_unlimited(principal, Permission.MEMBERS)) as tx:
            return await invitations.get(tx, invitation)

    async def revoke(self, principal: Principal, invitation: InvitationId) -> None:
        """Raises Denied (also `above_your_role`), NotFound also for one that is open no more."""
        async with self._database.transaction(enter_unlimited(principal, Permission.MEMBERS)) as tx:
            rank = await held(tx, principal, Permission.MEMBERS)
            demand_rank(rank, (await invitations.get(tx, invitation)).role)
            await invitations.revoke(tx, invitation)
            await audit.record(tx, Act.INVITATION_REVOKED, invitation)

    async def _add(self, tx: Transaction, principal: Principal, wish: InvitationWish) -> Invitation:
        rank = await held(tx, principal, Permission.MEMBERS)
        demand_rank(rank, wish.role)
        if await members.named(tx, wish.email):
            raise Conflict("Whoever has this address is a member already.", code="already_member")
        identifier = InvitationId(new_id())
        new = NewInvitation(
            id=identifier,
            email=wish.email,
            role=wish.role,
            mac=_mac(self._pepper, _secret(self._pepper, identifier)),
            invited_by=principal.person,
            lifetime=LIFETIME,
        )
        made = await invitations.add(tx, new)
        await audit.record(tx, Act.INVITATION_MADE, identifier, facts={"role": wish.role.value})
        await mails.enqueue(tx, MailKind.INVITATION, identifier)
        return made


class InvitationLetters:
    """What the mailroom sends to who is invited."""

    def __init__(self, database: Database, *, pepper: bytes) -> None:
        self._database = database
        self._pepper = pepper

    async def write(self, mail: WaitingMail) -> Letter | None:
        """None for an invitation that is open no more."""
        if mail.tenant is None:
            return None
        async with self._database.transaction(for_accounts(tenant=mail.tenant)) as tx:
            found = await invitations.find(tx, InvitationId(mail.subject))
            tenant = await tenants.find(tx, str(mail.tenant))
        if found is None or not found.live or tenant is None:
            return None
        token = token_of(self._pepper, InvitationId(mail.subject))
        text = _LETTER.format(name=tenant.name, role=found.role.value, token=token, days=LIFETIME.days)
        return Letter(mail.id, found.email, f"You are invited to {tenant.name}", text)


def token_of(pepper: bytes, invitation: InvitationId) -> str:
    """What the letter holds."""
    return f"ci_{invitation.hex}_{_secret(pepper, invitation)}"


def parsed(pepper: bytes, token: str) -> tuple[InvitationId, bytes]:
    """Whose token it says it is, and the MAC that the row must hold if it is. Raises Invalid `invalid_invitation`."""
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise invalid()
    return InvitationId(uuid.UUID(found[1])), _mac(pepper, found[2])


def _secret(pepper: bytes, invitation: InvitationId) -> str:
    return hmac.digest(pepper, b"invitation:" + invitation.bytes, sha256).hex()


def _mac(pepper: bytes, secret: str) -> bytes:
    return hmac.digest(pepper, f"invitation's mac:{secret}".encode(), sha256)


def invalid() -> Invalid:
    """One answer for what was never made, was used, was revoked, is over, or is not the newest."""
    sentence = "This invitation is not valid any more: ask for a new one."
    return Invalid(sentence, code="invalid_invitation", field="token")


_LETTER: Final = """\
You are invited to {name} on Carrel, as {role}.

To accept, send this token within {days} days, once:

    {token}

    POST /v1/invitations/accept
    {{"token": "…", "name": "your name", "password": "a password of your own"}}

If you have an account with this address already, send its password, or accept while you are signed in.
If you did not expect this letter, do nothing: it ends by itself.
"""
