"""The vault: secrets of tenants, each encrypted with its tenant's data key, which a master key wraps.

AES-256-GCM throughout (NIST SP 800-38D), with random nonces of 96 bits. What a ciphertext belongs to (tenant, table,
row, column, version of the key, and what else must not be changed beside it) is authenticated with it, so it opens in
its own place only. Without the wrapped data key nothing of a tenant opens again, whoever has a copy of the rows.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from carrel.domain.errors import Conflict, Unavailable
from carrel.domain.ids import TenantId
from carrel.domain.secret import MasterKeys, Secret, master_id
from carrel.store import tenant_keys
from carrel.store.tenant_keys import WrappedKey
from carrel.store.transaction import Transaction

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_WRAPPING: Final = b"carrel: wrapping tenants' data keys"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a secret stands, and what must stay beside it as it is (`bound`): all of it is authenticated."""

    table: str
    row: UUID
    column: str
    bound: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Box:
    """A secret in its encrypted form, as it is kept."""

    ciphertext: bytes
    nonce: bytes
    key_version: int


class Vault:
    """`masters` gives the deployment's master keys as they are now: a rotation may happen beside us."""

    def __init__(self, masters: Callable[[], MasterKeys]) -> None:
        self._masters = masters

    async def close(self, tx: Transaction, place: Place, secret: Secret) -> Box:
        """Encrypt for this place, with a data key that is made for the tenant's first secret.

        Raises Unavailable `master_key_unknown`.
        """
        key = await tenant_keys.newest(tx) or await self._first_key(tx)
        nonce = os.urandom(_NONCE_BYTES)
        label = _label(tx.tenant, place, key.version)
        ciphertext = _encrypted(self._unwrapped(tx.tenant, key), nonce, secret.reveal().encode(), label)
        return Box(ciphertext, nonce, key.version)

    async def open(self, tx: Transaction, place: Place, box: Box) -> Secret:
        """Raises Conflict `secret_unreadable` unless all is as it was closed, Unavailable `master_key_unknown`."""
        key = await tenant_keys.get(tx, box.key_version)
        if key is None:
            raise _unreadable()
        label = _label(tx.tenant, place, box.key_version)
        return Secret(_decrypted(self._unwrapped(tx.tenant, key), box.nonce, box.ciphertext, label).decode())

    async def rewrap(self, tx: Transaction) -> int:
        """The tenant's data keys under the current master key, as far as they are not. How many were changed.

        Raises Unavailable `master_key_unknown`, Conflict `secret_unreadable`.
        """
        current = self._masters().current
        stale = [key for key in await tenant_keys.locked(tx) if key.master != master_id(current)]
        for key in stale:
            data_key = self._unwrapped(tx.tenant, key)
            await tenant_keys.rewrap(tx, _wrapped(current, tx.tenant, key.version, data_key))
        return len(stale)

    async def _first_key(self, tx: Transaction) -> WrappedKey:
        """Two at once end with one key: the slower one's row is not inserted."""
        made = _wrapped(self._masters().current, tx.tenant, 1, os.urandom(_KEY_BYTES))
        await tenant_keys.add(tx, made)
        return await tenant_keys.newest(tx) or made

    def _unwrapped(self, tenant: TenantId, key: WrappedKey) -> bytes:
        master = self._masters().named(key.master)
        if master is None:
            raise Unavailable(
                "The master key that wrapped this tenant's data key is not known here.", code="master_key_unknown"
            )
        label = _key_label(tenant, key.version, key.master)
        return _decrypted(_wrapping_key(master), key.nonce, key.wrapped, label)


async def shred(tx: Transaction) -> int:
    """Destroy the tenant's data keys: whatever they encrypted is lost, here and in every copy that lacks them.

    How many keys that were; 0 when the tenant never kept a secret.
    """
    return await tenant_keys.shred(tx)


def _wrapped(master: bytes, tenant: TenantId, version: int, data_key: bytes) -> WrappedKey:
    nonce, name = os.urandom(_NONCE_BYTES), master_id(master)
    wrapped = _encrypted(_wrapping_key(master), nonce, data_key, _key_label(tenant, version, name))
    return WrappedKey(version, name, nonce, wrapped)


def _label(tenant: TenantId, place: Place, version: int) -> bytes:
    return _joined(str(tenant), place.table, str(place.row), place.column, str(version), *place.bound)


def _key_label(tenant: TenantId, version: int, master: str) -> bytes:
    return _joined(str(tenant), "tenant_keys", str(version), "wrapped", master)


def _joined(*parts: str) -> bytes:
    """Each with its length before it, so that no two lists of parts give the same bytes."""
    return b"".join(len(part).to_bytes(4) + part for part in (text.encode() for text in parts))


# The library is imported when the first secret is met: most processes never meet one.


def _wrapping_key(master: bytes) -> bytes:
    """HKDF (RFC 5869): the master key itself encrypts nothing, and signs other things."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), _KEY_BYTES, salt=None, info=_WRAPPING).derive(master)


def _encrypted(key: bytes, nonce: bytes, content: bytes, label: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key).encrypt(nonce, content, label)


def _decrypted(key: bytes, nonce: bytes, ciphertext: bytes, label: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key).decrypt(nonce, ciphertext, label)
    except (InvalidTag, ValueError) as error:  # ValueError: the nonce has a length that is none
        raise _unreadable() from error


def _unreadable() -> Conflict:
    """What was encrypted was changed or moved to another place, or its key was destroyed."""
    return Conflict("This secret does not open any more: give it again.", code="secret_unreadable")
