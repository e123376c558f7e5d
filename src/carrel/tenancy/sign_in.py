"""Signing in: a password gives a session, an access token of ten minutes, and a refresh token that gives the next two.

A refresh token is 32 random bytes, kept as SHA-256. It is used once: its successor follows from it and the pepper, so
two windows of one person that refresh at the same moment get the same one, for ten seconds, and nothing in clear is
kept. Whoever brings it later has a stolen one, or the other has: the session ends, for both, and the log tells it.
"""

import base64
import binascii
import hmac
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import structlog

from carrel.domain.access import AccountGrant, for_accounts
from carrel.domain.addresses import one_form
from carrel.domain.audit import Act
from carrel.domain.errors import NotFound, Unauthenticated
from carrel.domain.ids import SessionId, TenantId, UserId, new_id
from carrel.store import accounts, audit, sign_ins
from carrel.store.accounts import Knocking, Membership
from carrel.store.sign_ins import Holder
from carrel.store.transaction import Database, Transaction
from carrel.tenancy import tokens
from carrel.tenancy.brakes import Brakes, Try
from carrel.tenancy.passwords import Passwords
from carrel.tenancy.tokens import AccessTokens

log = structlog.get_logger(__name__)

_SECRET_BYTES: Final = 32
_PREFIX: Final = "cr_"


@dataclass(frozen=True, slots=True)
class Knock:
    """Who wants to come in. `email` as it was typed, `tenant` by slug or id; by which program, from which network."""

    email: str
    password: str
    tenant: str | None
    client: str
    origin: str


@dataclass(frozen=True, slots=True)
class Issued:
    """Both tokens in clear, once. `tenant` is what the access token names."""

    access: str
    refresh: str
    tenant: TenantId | None
    lifetime: int


class SignIn:
    def __init__(
        self, database: Database, *, passwords: Passwords, tokens: AccessTokens, brakes: Brakes, pepper: bytes
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._tokens = tokens
        self._brakes = brakes
        self._pepper = pepper

    async def by_password(self, knock: Knock) -> Issued:
        """Without a tenant: of the only one, or of none.

        Raises Throttled, Unauthenticated `invalid_credentials` whatever is wrong, NotFound for a tenant that the person
        is no active member of.
        """
        email = _one_form(knock.email)
        await self._brakes.on(Try.PASSWORD, account=email, origin=knock.origin)
        async with self._database.transaction(for_accounts()) as tx:
            found = await accounts.knocking(tx, email)
        proven = await self._passwords.proves(knock.password, None if found is None else found.hash)
        if found is None or not proven or not found.welcome:
            log.info("sign_in.refused", origin=knock.origin)
            raise _strangers()
        async with self._database.transaction(for_accounts()) as tx:
            memberships = await accounts.memberships(tx, found.user)
        return await self._begin(knock, found, _chosen(memberships, knock.tenant))

    async def refresh(self, token: str, *, tenant: str | None, origin: str) -> Issued:
        """For the tenant of before, or for another.

        Raises Throttled, Unauthenticated `invalid_refresh_token`, `session_ended`, `reused_refresh_token`, NotFound.
        """
        await self._brakes.on(Try.REFRESH, origin=origin)
        secret = _secret(token)
        async with self._database.transaction(for_accounts()) as tx:
            holder = await sign_ins.holder(tx, _hash(secret))
            if holder is None:
                raise _unknown_token()
            memberships = await accounts.memberships(tx, holder.user)
        chosen = _next_tenant(memberships, holder, tenant)
        place = chosen or next((one.tenant for one in memberships), None)
        async with self._database.transaction(for_accounts(tenant=place, user=holder.user)) as tx:
            successor = await self._rotate(tx, secret, holder, chosen)
        if successor is None:
            log.warning("session.reused", session=str(holder.session))
            raise Unauthenticated(
                "This refresh token was used before, so the session has ended: sign in again.",
                code="reused_refresh_token",
            )
        return self._issued(holder.user, holder.session, chosen, successor)

    async def sign_out(self, token: str, *, origin: str) -> None:
        """Ends the session of a refresh token. Nothing tells whether there was one. Raises Throttled."""
        await self._brakes.on(Try.REFRESH, origin=origin)
        with suppress(Unauthenticated):
            secret = _secret(token)
            async with self._database.transaction(for_accounts()) as tx:
                holder = await sign_ins.holder(tx, _hash(secret))
                if holder is not None:
                    with suppress(NotFound):
                        await sign_ins.end(tx, holder.user, holder.session)

    async def _begin(self, knock: Knock, found: Knocking, tenant: TenantId | None) -> Issued:
        session, secret = SessionId(new_id()), secrets.token_bytes(_SECRET_BYTES)
        new = sign_ins.SignIn(session, found.user, found.epoch, tenant, knock.client)
        async with self._database.transaction(for_accounts(tenant=tenant, user=found.user)) as tx:
            if not await sign_ins.begin(tx, new, token=_hash(secret)):
                raise _strangers()
            if tenant is not None:
                await audit.record(tx, Act.SESSION_BEGUN, session)
        return self._issued(found.user, session, tenant, secret)

    async def _rotate(self, tx: Transaction, secret: bytes, holder: Holder, tenant: TenantId | None) -> bytes | None:
        """The successor; None for a token that was used too long ago: then the session has ended."""
        held = await sign_ins.hold(tx, _hash(secret))
        if not held.live:
            raise Unauthenticated("This session has ended: sign in again.", code="session_ended")
        successor = hmac.digest(self._pepper, b"refresh token after " + secret, sha256)
        if not held.replaced:
            await sign_ins.replace(tx, _hash(secret), by=_hash(successor), session=holder.session)
        elif not held.in_grace:
            await self._revoke(tx, holder)
            return None
        if tenant is not None and tenant != holder.tenant:
            await audit.record(tx, Act.SESSION_BEGUN, holder.session)
        await sign_ins.go_on(tx, holder.session, tenant)
        return successor

    async def _revoke(self, tx: Transaction, holder: Holder) -> None:
        with suppress(NotFound):  # somebody brought it at the same time
            await sign_ins.end(tx, holder.user, holder.session)
            if isinstance(tx.grant, AccountGrant) and tx.grant.tenant is not None:
                await audit.record(tx, Act.SESSION_REVOKED, holder.session, refused=True)

    def _issued(self, user: UserId, session: SessionId, tenant: TenantId | None, secret: bytes) -> Issued:
        access = self._tokens.mint(user, session, tenant)
        refresh = _PREFIX + base64.urlsafe_b64encode(secret).decode().rstrip("=")
        return Issued(access, refresh, tenant, int(tokens.LIFETIME.total_seconds()))


def _one_form(email: str) -> str:
    """As addresses are kept; what can be none is nobody's."""
    formed = one_form(email)
    return formed if formed.isascii() and formed.isprintable() else ""


def _chosen(memberships: Sequence[Membership], name: str | None) -> TenantId | None:
    """The tenant of that slug or id, or the only one. Raises NotFound."""
    active = [one for one in memberships if one.status == "active"]
    if name is None:
        return active[0].tenant if len(active) == 1 else None
    for one in active:
        if name.lower() in {one.slug, str(one.tenant)}:
            return one.tenant
    raise NotFound


def _next_tenant(memberships: Sequence[Membership], holder: Holder, name: str | None) -> TenantId | None:
    """As `_chosen`, but the session's own tenant goes on as long as the person is in it. Raises NotFound."""
    goes_on = any(one.tenant == holder.tenant and one.status == "active" for one in memberships)
    return holder.tenant if name is None and goes_on else _chosen(memberships, name)


def _secret(token: str) -> bytes:
    try:
        secret = base64.b64decode(token.removeprefix(_PREFIX) + "=", altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise _unknown_token() from error
    if len(secret) != _SECRET_BYTES or not token.startswith(_PREFIX):
        raise _unknown_token()
    return secret


def _hash(secret: bytes) -> bytes:
    return sha256(secret).digest()


def _strangers() -> Unauthenticated:
    """One answer for an unknown address, a wrong password, and whoever is suspended."""
    return Unauthenticated("The address or the password is wrong.", code="invalid_credentials")


def _unknown_token() -> Unauthenticated:
    return Unauthenticated("This refresh token is not known here.", code="invalid_refresh_token")
