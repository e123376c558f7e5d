"""Tenants' data keys as rows, each wrapped by a master key that it names; without its row a key is gone."""

from dataclasses import dataclass
from typing import Any, Final

from carrel.store.transaction import Statement, Transaction

_COLUMNS = "version, master_id, nonce, wrapped"
_NEWEST: Final = Statement(f"""
    select {_COLUMNS} from tenant_keys where tenant_id = :tenant order by version desc limit 1
""")
_GET: Final = Statement(f"select {_COLUMNS} from tenant_keys where tenant_id = :tenant and version = :version")
_ALL: Final = Statement(f"select {_COLUMNS} from tenant_keys where tenant_id = :tenant order by version for update")
_ADD: Final = Statement("""
    insert into tenant_keys (tenant_id, version, master_id, nonce, wrapped)
    values (:tenant, :version, :master, :nonce, :wrapped) on conflict do nothing
""")
_REWRAP: Final = Statement("""
    update tenant_keys set master_id = :master, nonce = :nonce, wrapped = :wrapped
    where tenant_id = :tenant and version = :version
""")
_SHRED: Final = Statement("delete from tenant_keys where tenant_id = :tenant")


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """`master` is the id of the master key that unwraps it."""

    version: int
    master: str
    nonce: bytes
    wrapped: bytes


async def newest(tx: Transaction) -> WrappedKey | None:
    row = await tx.row(_NEWEST)
    return _wrapped(row) if row else None


async def get(tx: Transaction, version: int) -> WrappedKey | None:
    row = await tx.row(_GET, version=version)
    return _wrapped(row) if row else None


async def locked(tx: Transaction) -> list[WrappedKey]:
    """All of the tenant's, against two rotations at once."""
    return [_wrapped(row) for row in await tx.rows(_ALL)]


async def add(tx: Transaction, key: WrappedKey) -> None:
    """Nothing happens when another was faster: read the newest again."""
    await tx.run(_ADD, version=key.version, master=key.master, nonce=key.nonce, wrapped=key.wrapped)


async def rewrap(tx: Transaction, key: WrappedKey) -> None:
    await tx.run(_REWRAP, version=key.version, master=key.master, nonce=key.nonce, wrapped=key.wrapped)


async def shred(tx: Transaction) -> int:
    """How many are gone."""
    return await tx.run(_SHRED)


def _wrapped(row: Any) -> WrappedKey:
    return WrappedKey(row["version"], row["master_id"], row["nonce"], row["wrapped"])
