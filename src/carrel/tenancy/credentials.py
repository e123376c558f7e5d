"""Provider credentials: written by a tenant's managers, read by nobody but the bots that use them."""

import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from carrel.domain.access import Principal, TenantGrant, enter_unlimited
from carrel.domain.audit import Act
from carrel.domain.buckets import s3_key
from carrel.domain.errors import Invalid
from carrel.domain.ids import CredentialId, new_id
from carrel.domain.providers import S3, ProviderAccess, ProviderCredential, judged_address, judged_provider
from carrel.domain.rights import Permission
from carrel.domain.secret import Secret
from carrel.store import audit, idempotency, providers
from carrel.store.idempotency import Memo
from carrel.store.pages import Page
from carrel.store.providers import Encrypted
from carrel.store.transaction import Database, Transaction
from carrel.tenancy.vault import Box, Place, Vault

__all__ = ["CredentialChange", "CredentialWish", "Credentials", "ProviderCredential"]

_MARK: Final = b"carrel: a request that holds a secret\n"


@dataclass(frozen=True, slots=True, eq=False)
class CredentialWish:
    name: str
    provider: str
    secret: Secret
    base_url: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class CredentialChange:
    """None leaves a field as it is. An address is changed together with the secret that goes there."""

    name: str | None = None
    secret: Secret | None = None
    base_url: str | None = None


class Credentials:
    def __init__(self, database: Database, vault: Vault, *, pepper: bytes) -> None:
        self._database = database
        self._vault = vault
        self._pepper = pepper

    async def create(
        self, principal: Principal, wish: CredentialWish, *, memo: Memo[ProviderCredential] | None = None
    ) -> ProviderCredential:
        """Raises Denied, Invalid `invalid_provider`, `invalid_url` and for `s3` `invalid_s3_secret`, Conflict
        `credential_exists`.
        """
        grant = enter_unlimited(principal, Permission.MANAGE)
        judged_provider(wish.provider)
        judged_address(wish.base_url)
        _judge(wish.provider, wish.secret)
        async with self._database.transaction(grant) as tx:
            return await idempotency.once(tx, memo, lambda: self._add(tx, wish))

    def fingerprint(self, request: str) -> bytes:
        """Tells requests apart without keeping what could be tried out: a plain hash of a short secret would."""
        return hmac.digest(self._pepper, _MARK + request.encode(), sha256)

    async def listed(
        self, principal: Principal, *, limit: int = 50, cursor: str | None = None
    ) -> Page[ProviderCredential]:
        """Raises Denied, Invalid `invalid_cursor`."""
        async with self._database.transaction(enter_unlimited(principal, Permission.MANAGE)) as tx:
            return await providers.listed(tx, limit=limit, cursor=cursor)

    async def get(self, principal: Principal, credential: CredentialId) -> ProviderCredential:
        """Raises Denied, NotFound."""
        async with self._database.transaction(enter_unlimited(principal, Permission.MANAGE)) as tx:
            return await providers.get(tx, credential)

    async def named(self, principal: Principal, name: str) -> ProviderCredential | None:
        """Raises Denied."""
        async with self._database.transaction(enter_unlimited(principal, Permission.MANAGE)) as tx:
            return await providers.named(tx, name)

    async def change(
        self, principal: Principal, credential: CredentialId, change: CredentialChange
    ) -> ProviderCredential:
        """Raises Denied, NotFound, Invalid as `create` and `secret_required`, Conflict `credential_exists`."""
        grant = enter_unlimited(principal, Permission.MANAGE)
        judged_address(change.base_url)
        if change.base_url is not None and change.secret is None:
            raise Invalid("Another address needs the secret anew.", code="secret_required", field="secret")
        async with self._database.transaction(grant) as tx:
            held = (await providers.held(tx, credential)).shown
            if change.secret is not None:
                _judge(held.provider, change.secret)
                address = change.base_url or held.base_url
                encrypted = await self._encrypted(
                    tx, credential, provider=held.provider, address=address, secret=change.secret
                )
                await providers.replace(tx, credential, encrypted)
            if change.name is not None:
                await providers.rename(tx, credential, change.name)
            await audit.record(tx, Act.CREDENTIAL_CHANGED, credential, facts=_changed(change))
            return await providers.get(tx, credential)

    async def delete(self, principal: Principal, credential: CredentialId) -> None:
        """Bots that used it go on without one. Raises Denied, NotFound."""
        async with self._database.transaction(enter_unlimited(principal, Permission.MANAGE)) as tx:
            await providers.delete(tx, credential)
            await audit.record(tx, Act.CREDENTIAL_DELETED, credential)

    async def access(self, grant: TenantGrant, credential: CredentialId) -> ProviderAccess:
        """What a bot of this tenant calls its provider with.

        Raises NotFound, Conflict `secret_unreadable` (also when its address was changed behind our back), Unavailable.
        """
        async with self._database.transaction(grant) as tx:
            held = await providers.kept(tx, credential)
            shown, kept = held.shown, held.encrypted
            box = Box(kept.ciphertext, kept.nonce, kept.key_version)
            place = _place(credential, provider=shown.provider, address=shown.base_url)
            return ProviderAccess(shown.provider, shown.base_url, await self._vault.open(tx, place, box))

    async def _add(self, tx: Transaction, wish: CredentialWish) -> ProviderCredential:
        identifier = CredentialId(new_id())
        encrypted = await self._encrypted(
            tx, identifier, provider=wish.provider, address=wish.base_url, secret=wish.secret
        )
        added = await providers.add(tx, identifier, name=wish.name, provider=wish.provider, encrypted=encrypted)
        await audit.record(tx, Act.CREDENTIAL_CREATED, identifier, facts={"provider": wish.provider})
        return added

    async def _encrypted(
        self, tx: Transaction, credential: CredentialId, *, provider: str, address: str | None, secret: Secret
    ) -> Encrypted:
        box = await self._vault.close(tx, _place(credential, provider=provider, address=address), secret)
        return Encrypted(address, box.ciphertext, box.nonce, box.key_version, secret.last_four)


def _place(credential: CredentialId, *, provider: str, address: str | None) -> Place:
    return Place("provider_credentials", credential, "secret", (provider, address or ""))


def _judge(provider: str, secret: Secret) -> None:
    """Raises Invalid `invalid_s3_secret`: of other providers' secrets nobody knows the form."""
    if provider == S3:
        s3_key(secret)


def _changed(change: CredentialChange) -> dict[str, list[str]]:
    """The names of what was changed."""
    fields = {"name": change.name, "secret": change.secret, "base_url": change.base_url}
    return {"changed": [name for name, value in fields.items() if value is not None]}
