"""Provider credentials as rows: what is shown of them, and their secret in its encrypted form."""

from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from carrel.domain.errors import Conflict, NotFound
from carrel.domain.ids import CredentialId
from carrel.domain.providers import ProviderCredential
from carrel.store.pages import Page, Place, page, place_of
from carrel.store.transaction import Statement, Transaction

_LISTED: Final = "credentials"
_COLUMNS = "id, name, provider, base_url, last_four, created_at, rotated_at"
_ADD: Final = Statement(f"""
    insert into provider_credentials (tenant_id, id, name, provider, base_url, ciphertext, nonce, key_version,
                                      last_four)
    values (:tenant, :id, :name, :provider, :base_url, :ciphertext, :nonce, :key_version, :last_four)
    returning {_COLUMNS}
""")
_GET: Final = Statement(f"select {_COLUMNS} from provider_credentials where tenant_id = :tenant and id = :id")
_NAMED: Final = Statement(f"select {_COLUMNS} from provider_credentials where tenant_id = :tenant and name = :name")
_LIST: Final = Statement(f"""
    select {_COLUMNS} from provider_credentials
    where tenant_id = :tenant and (:moment::timestamptz is null or (created_at, id) < (:moment, :id::uuid))
    order by created_at desc, id desc limit :most
""")
_HELD: Final = Statement(f"""
    select {_COLUMNS}, ciphertext, nonce, key_version from provider_credentials
    where tenant_id = :tenant and id = :id for update
""")
_KEPT: Final = Statement(f"""
    select {_COLUMNS}, ciphertext, nonce, key_version from provider_credentials where tenant_id = :tenant and id = :id
""")
_RENAME: Final = Statement("""
    update provider_credentials set name = :name where tenant_id = :tenant and id = :id
""")
_REPLACE: Final = Statement("""
    update provider_credentials set base_url = :base_url, ciphertext = :ciphertext, nonce = :nonce,
        key_version = :key_version, last_four = :last_four, rotated_at = now()
    where tenant_id = :tenant and id = :id
""")
_DELETE: Final = Statement("delete from provider_credentials where tenant_id = :tenant and id = :id")


@dataclass(frozen=True, slots=True)
class Encrypted:
    """A secret as it is kept, and the address that it is bound to."""

    base_url: str | None
    ciphertext: bytes
    nonce: bytes
    key_version: int
    last_four: str


@dataclass(frozen=True, slots=True)
class HeldCredential:
    """A credential with its secret, still encrypted."""

    shown: ProviderCredential
    encrypted: Encrypted


async def add(
    tx: Transaction, credential: CredentialId, *, name: str, provider: str, encrypted: Encrypted
) -> ProviderCredential:
    """Raises Conflict `credential_exists`."""
    try:
        row = await tx.row(
            _ADD,
            id=credential,
            name=name,
            provider=provider,
            base_url=encrypted.base_url,
            ciphertext=encrypted.ciphertext,
            nonce=encrypted.nonce,
            key_version=encrypted.key_version,
            last_four=encrypted.last_four,
        )
    except asyncpg.UniqueViolationError as error:
        raise _taken(name) from error
    return _credential(row)


async def get(tx: Transaction, credential: CredentialId) -> ProviderCredential:
    """Raises NotFound."""
    row = await tx.row(_GET, id=credential)
    if row is None:
        raise NotFound
    return _credential(row)


async def named(tx: Transaction, name: str) -> ProviderCredential | None:
    row = await tx.row(_NAMED, name=name)
    return _credential(row) if row else None


async def listed(tx: Transaction, *, limit: int, cursor: str | None) -> Page[ProviderCredential]:
    place = place_of(cursor, of=_LISTED)
    rows = await tx.rows(_LIST, moment=place and place.created_at, id=place and place.id, most=limit + 1)
    places = [Place(row["created_at"], row["id"]) for row in rows]
    return page([_credential(row) for row in rows], places, limit, of=_LISTED)


async def held(tx: Transaction, credential: CredentialId) -> HeldCredential:
    """Nobody else changes it until the commit. Raises NotFound."""
    return _opened(await tx.row(_HELD, id=credential))


async def kept(tx: Transaction, credential: CredentialId) -> HeldCredential:
    """For its use alone: many may at once. Raises NotFound."""
    return _opened(await tx.row(_KEPT, id=credential))


def _opened(row: Any) -> HeldCredential:
    if row is None:
        raise NotFound
    shown = _credential(row)
    encrypted = Encrypted(shown.base_url, row["ciphertext"], row["nonce"], row["key_version"], shown.last_four)
    return HeldCredential(shown, encrypted)


async def rename(tx: Transaction, credential: CredentialId, name: str) -> None:
    """Raises Conflict `credential_exists`."""
    try:
        await tx.run(_RENAME, id=credential, name=name)
    except asyncpg.UniqueViolationError as error:
        raise _taken(name) from error


async def replace(tx: Transaction, credential: CredentialId, encrypted: Encrypted) -> None:
    await tx.run(
        _REPLACE,
        id=credential,
        base_url=encrypted.base_url,
        ciphertext=encrypted.ciphertext,
        nonce=encrypted.nonce,
        key_version=encrypted.key_version,
        last_four=encrypted.last_four,
    )


async def delete(tx: Transaction, credential: CredentialId) -> None:
    """Bots that used it go on without one. Raises NotFound."""
    if not await tx.run(_DELETE, id=credential):
        raise NotFound


def _taken(name: str) -> Conflict:
    return Conflict(f"A credential {name!r} exists already.", code="credential_exists")


def _credential(row: Any) -> ProviderCredential:
    return ProviderCredential(
        id=CredentialId(row["id"]),
        name=row["name"],
        provider=row["provider"],
        base_url=row["base_url"],
        last_four=row["last_four"],
        created_at=row["created_at"],
        rotated_at=row["rotated_at"],
    )
