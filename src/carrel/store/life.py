"""A tenant's fate: renamed, suspended, resumed, given up; then destroyed row by row. A receipt outlives it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from carrel.domain.errors import NotFound
from carrel.domain.ids import TenantId, UserId
from carrel.domain.library import TenantStatus
from carrel.store.transaction import Statement, Transaction

_TURN: Final = Statement("select turn_tenant(:wanted, :credential)")
_RENAME: Final = Statement("select rename_tenant(:name)")
_ENTRIES: Final = Statement("select relation, gone from destroy_entries(:most)")
_ROWS: Final = Statement("select relation, gone from destroy_rows(:most)")
_NOTE: Final = Statement("select note_destroyed(:what, :amount, :is_total)")
_LEFT: Final = Statement("select relation, amount from left_rows()")
_LEFT_ENTRIES: Final = Statement("select left_entries()")
_BURY: Final = Statement("select bury_tenant()")
_OWNERS: Final = Statement("select owners_of_private() as owner")
_RECEIPT: Final = Statement("""
    select id, requested_by, requested_at, destroyed, completed_at from tenant_receipts where id = :id
""")
_DESTROYED: Final = Statement("""
    select id from tenant_receipts where completed_at > now() - make_interval(secs => :seconds) order by id
""")


@dataclass(frozen=True, slots=True)
class TenantReceipt:
    """What was destroyed of a tenant, table by table, and of files; `completed_at` is None while it goes on."""

    tenant: TenantId
    requested_by: UserId | None
    requested_at: datetime
    completed_at: datetime | None
    destroyed: Mapping[str, int]


async def turn(tx: Transaction, status: TenantStatus, *, credential: UUID | None) -> TenantStatus:
    """What the grant's tenant was before. Raises NotFound where there is none, or none any more."""
    former = await tx.value(_TURN, wanted=status, credential=credential)
    if former is None:
        raise NotFound
    return TenantStatus(former)


async def rename(tx: Transaction, name: str) -> None:
    """Raises NotFound."""
    if not await tx.value(_RENAME, name=name):
        raise NotFound


async def destroy_entries(tx: Transaction, *, most: int) -> int:
    """The next index entries of a tenant that was given up, noted in its receipt. 0 when none is left."""
    return await _noted(tx, await tx.rows(_ENTRIES, most=most))


async def destroy_rows(tx: Transaction, *, most: int) -> int:
    """The next rows of a tenant that was given up, noted in its receipt. 0 when none is left."""
    return await _noted(tx, await tx.rows(_ROWS, most=most))


async def note_keys(tx: Transaction, shredded: int) -> None:
    """Data keys that went with the deletion itself."""
    if shredded:
        await tx.run(_NOTE, what="tenant_keys", amount=shredded, is_total=False)


async def note_files(tx: Transaction, total: int) -> None:
    """Before they go: a file that is gone cannot be counted. Counted again after a crash, the first count stays."""
    await tx.run(_NOTE, what="files", amount=total, is_total=True)


async def left(tx: Transaction) -> Mapping[str, int]:
    """What a tenant that was given up still has; empty when nothing is left but its own row and the job."""
    rows = {row["relation"]: row["amount"] for row in await tx.rows(_LEFT)}
    entries = int(await tx.value(_LEFT_ENTRIES))
    return {**rows, "entries": entries} if entries else rows


async def bury(tx: Transaction) -> bool:
    """The last row goes, and the receipt is complete. False when the database knows of a row that still needs it."""
    return bool(await tx.value(_BURY))


async def owners(tx: Transaction) -> list[UserId]:
    """Whoever has a private source or a chat in the tenant."""
    return sorted(UserId(row["owner"]) for row in await tx.rows(_OWNERS))


async def receipt(tx: Transaction, tenant: TenantId) -> TenantReceipt:
    """Raises NotFound."""
    row = await tx.row(_RECEIPT, id=tenant)
    if row is None:
        raise NotFound
    return TenantReceipt(
        tenant=TenantId(row["id"]),
        requested_by=row["requested_by"] and UserId(row["requested_by"]),
        requested_at=row["requested_at"],
        completed_at=row["completed_at"],
        destroyed=row["destroyed"],
    )


async def lately_destroyed(tx: Transaction, *, seconds: float) -> list[TenantId]:
    """Those whose end is not longer ago: an upload that was on its way may have left bytes behind it."""
    return [TenantId(row["id"]) for row in await tx.rows(_DESTROYED, seconds=seconds)]


async def _noted(tx: Transaction, rows: list[Any]) -> int:
    for row in rows:
        await tx.run(_NOTE, what=row["relation"], amount=row["gone"], is_total=False)
    return len(rows)
