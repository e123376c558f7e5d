"""API keys: issued once in clear, listed without their secret, revoked at once."""

import hmac
import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256

from carrel.domain.access import Principal, enter_unlimited, for_machine, operate, require
from carrel.domain.audit import Act
from carrel.domain.credentials import ApiKey, new_api_key
from carrel.domain.errors import Denied, Invalid
from carrel.domain.ids import BotId, KeyId, SourceId, TenantId
from carrel.domain.rights import Permission, Scope
from carrel.store import audit, bots, credentials, idempotency, sources
from carrel.store.credentials import KeyRow, NewKey
from carrel.store.idempotency import Memo
from carrel.store.pages import Page
from carrel.store.transaction import Database, Transaction

__all__ = ["IssuedKey", "KeyRow", "KeyWish", "Keys"]


@dataclass(frozen=True, slots=True)
class KeyWish:
    name: str
    scopes: frozenset[Scope]
    expires_at: datetime | None = None
    bots: frozenset[BotId] | None = None
    sources: frozenset[SourceId] | None = None


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """`clear` exists in this answer only."""

    row: KeyRow
    clear: str


class Keys:
    def __init__(self, database: Database, *, pepper: bytes) -> None:
        self._database = database
        self._pepper = pepper

    async def create(self, principal: Principal, wish: KeyWish, *, memo: Memo[IssuedKey] | None = None) -> IssuedKey:
        """Raises Denied (also for a scope that the maker lacks), Invalid, NotFound for a foreign bot or source."""
        grant = enter_unlimited(principal, Permission.MANAGE)
        wish = _judged(principal, wish)
        key = new_api_key() if memo is None else self.repeatable(grant.tenant, memo.principal, memo.key)
        async with self._database.transaction(grant) as tx:
            return await idempotency.once(tx, memo, lambda: self._add(tx, key, wish, principal))

    def repeatable(self, tenant: TenantId, principal: uuid.UUID, once: str) -> ApiKey:
        """The key that this Idempotency-Key makes: it follows from the pepper, so its secret need not be stored.

        A person is the same in every tenant, and a key is found before its tenant is known: each tenant has its own.
        """
        seed = hmac.digest(self._pepper, f"idempotent key:{tenant}:{principal}:{once}".encode(), sha256)
        secret = hmac.digest(self._pepper, b"secret:" + seed, sha256).hex()
        return ApiKey(KeyId(uuid.UUID(bytes=seed[:16], version=4)), secret)

    async def listed(self, principal: Principal, *, limit: int = 50, cursor: str | None = None) -> Page[KeyRow]:
        """The tenant's; without a tenant the operators'. Raises Denied, Invalid `invalid_cursor`."""
        if principal.tenant is None:
            async with self._database.transaction(operate(principal)) as tx:
                return await credentials.listed_operators(tx, limit=limit, cursor=cursor)
        async with self._database.transaction(enter_unlimited(principal, Permission.MANAGE)) as tx:
            return await credentials.listed(tx, limit=limit, cursor=cursor)

    async def get(self, principal: Principal, key: KeyId) -> KeyRow:
        """Raises Denied, NotFound."""
        async with self._database.transaction(enter_unlimited(principal, Permission.MANAGE)) as tx:
            return await credentials.get(tx, key)

    async def revoke(self, principal: Principal, key: KeyId) -> None:
        """Dead from the next request on, whatever the key owns. Raises Denied, NotFound."""
        if principal.tenant is None:
            async with self._database.transaction(operate(principal)) as tx:
                await credentials.revoke_operator(tx, key)
            return
        async with self._database.transaction(enter_unlimited(principal, Permission.MANAGE)) as tx:
            await credentials.revoke(tx, key)
            await audit.record(tx, Act.KEY_REVOKED, key)

    async def create_operator(self, principal: Principal, *, name: str) -> ApiKey:
        """Raises Denied."""
        require(principal, Permission.PLATFORM)
        key = new_api_key()
        async with self._database.transaction(operate(principal)) as tx:
            await credentials.add_operator(tx, key.id, name=name, mac=key.mac(self._pepper))
        return key

    async def first_operator(self) -> ApiKey | None:
        """The operator key of the first run; None on every later one."""
        key = new_api_key()
        async with self._database.transaction(for_machine()) as tx:
            made = await credentials.add_first_operator(tx, key.id, name="first run", mac=key.mac(self._pepper))
        return key if made else None

    async def _add(self, tx: Transaction, key: ApiKey, wish: KeyWish, maker: Principal) -> IssuedKey:
        if wish.expires_at is not None and await credentials.has_passed(tx, wish.expires_at):
            raise Invalid("The key would have expired already.", code="expires_in_the_past", field="expires_at")
        if wish.sources is not None:
            await sources.resolve(tx, wish.sources)
        for bot in wish.bots or ():
            await bots.get(tx, bot)
        new = NewKey(
            id=key.id,
            name=wish.name,
            mac=key.mac(self._pepper),
            scopes=wish.scopes,
            sources=wish.sources,
            bots=wish.bots,
            expires_at=wish.expires_at,
            made_by=maker.person,
        )
        row = await credentials.add(tx, new)
        await audit.record(tx, Act.KEY_CREATED, key.id)
        return IssuedKey(row, key.reveal())


def _judged(principal: Principal, wish: KeyWish) -> KeyWish:
    """The wish, ending with its maker at the latest."""
    if not wish.scopes:
        raise Invalid("A key needs at least one scope.", code="no_scopes", field="scopes")
    if not wish.scopes <= principal.scopes:
        raise Denied("A key can give only the scopes that it has itself.", code="scope_missing")
    if principal.expires_at is None or principal.is_person:
        return wish
    if wish.expires_at is not None and wish.expires_at > principal.expires_at:
        raise Invalid("A key ends before the one that makes it.", code="outlives_its_maker", field="expires_at")
    return replace(wish, expires_at=wish.expires_at or principal.expires_at)
