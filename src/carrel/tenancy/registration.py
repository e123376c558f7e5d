"""Registration: an address, proven by a code; then a person, an organisation, and the person its owner.

Nothing is made before the address is proven, so a registration that nobody verifies holds neither slug nor address: it
is a row that the next who registers the address overwrites, and that is gone after an hour. If two register one address
within that hour nobody can tell whose password it is, and a mail does not tell either; so neither's holds, and whoever
reads the mail chooses one by `forgot`. Else somebody could register another's address, wait, and sign in.

An address with an account and one without are treated alike: the same statements, one hash, one mail in the queue. What
differs is what the letter says, and only the address's owner reads it.
"""

import secrets
import uuid
from dataclasses import dataclass
from typing import Final

from carrel.domain.access import for_accounts
from carrel.domain.audit import Act
from carrel.domain.ids import TenantId, UserId, new_id
from carrel.domain.rights import Role
from carrel.store import accounts, audit, codes, tenants
from carrel.store.accounts import Registration as Wanted
from carrel.store.transaction import Database, Transaction
from carrel.tenancy.brakes import Brakes, Try
from carrel.tenancy.codes import Codes, Purpose, wrong_code
from carrel.tenancy.passwords import Passwords, demand_strength
from carrel.tenancy.tenants import slug_of

_LIFETIME: Final = 3600.0  # seconds
_SUFFIX: Final = 3  # bytes
_LONGEST_SLUG: Final = 63


@dataclass(frozen=True, slots=True)
class Registering:
    """`email` in the one form in which addresses are kept."""

    email: str
    password: str
    name: str
    organisation: str


@dataclass(frozen=True, slots=True)
class Verified:
    """`password_needed`: two had registered this address, so the password is to be chosen by `forgot`."""

    user: UserId
    tenant: TenantId
    password_needed: bool


class Registration:
    def __init__(self, database: Database, *, passwords: Passwords, brakes: Brakes, codes: Codes) -> None:
        self._database = database
        self._passwords = passwords
        self._brakes = brakes
        self._codes = codes

    async def register(self, wish: Registering, *, origin: str) -> None:
        """A code is on its way. Raises Throttled, Invalid `weak_password`."""
        demand_strength(wish.password, email=wish.email)
        await self._brakes.on(Try.MAIL, account=wish.email, origin=origin)
        hashed = await self._passwords.hash(wish.password)
        async with self._database.transaction(for_accounts()) as tx:
            user = await accounts.register(
                tx,
                user=UserId(new_id()),
                email=wish.email,
                name=wish.name,
                organisation=wish.organisation,
                hashed=hashed,
                lifetime=_LIFETIME,
            )
            await self._codes.issue(tx, user, Purpose.VERIFY)

    async def resend(self, email: str, *, origin: str) -> None:
        """Another code; the one before is dead. Raises Throttled."""
        await self._brakes.on(Try.MAIL, account=email, origin=origin)
        async with self._database.transaction(for_accounts()) as tx:
            user = await accounts.pending(tx, email)
            await self._codes.issue(tx, user or self._codes.nobody(email), Purpose.VERIFY)

    async def verify(self, email: str, code: str, *, origin: str) -> Verified:
        """Makes the person and the organisation; nobody is signed in. Raises Throttled, Invalid `invalid_code`."""
        await self._brakes.on(Try.CODE, account=email, origin=origin)
        async with self._database.transaction(for_accounts()) as tx:
            user = await accounts.pending(tx, email) or self._codes.nobody(email)
            tried = await codes.attempt(tx, user, Purpose.VERIFY)
        row = self._codes.proves(tried, user, Purpose.VERIFY, code)
        tenant = TenantId(new_id())
        async with self._database.transaction(for_accounts(tenant=tenant, user=user)) as tx:
            return await self._settle(tx, row, user)

    async def _settle(self, tx: Transaction, row: uuid.UUID, user: UserId) -> Verified:
        wanted = await accounts.take_up(tx, user) if await codes.use(tx, row) else None
        if wanted is None or not await accounts.add(tx, user, email=wanted.email, name=wanted.name):
            raise wrong_code()
        if wanted.hash is not None:
            await accounts.set_password(tx, user, wanted.hash)
        await _found_organisation(tx, wanted)
        return Verified(user, tx.tenant, password_needed=wanted.hash is None)


async def _found_organisation(tx: Transaction, wanted: Wanted) -> None:
    await tenants.add(tx, tx.tenant, slug=own_slug(wanted.organisation), name=wanted.organisation)
    await accounts.join(tx, wanted.user, Role.OWNER)
    await audit.record(tx, Act.TENANT_REGISTERED, tx.tenant)


def own_slug(organisation: str) -> str:
    """With a random end: nobody learns which organisations there are, and nobody takes another's name away."""
    end = secrets.token_hex(_SUFFIX)
    start = slug_of(organisation)[: _LONGEST_SLUG - len(end) - 1].strip("-") or "organisation"
    return f"{start}-{end}"
