"""Tenants: the platform's own list."""

from collections.abc import AsyncIterator
from typing import Any, Final

import asyncpg

from carrel.domain.access import for_machine
from carrel.domain.errors import Conflict
from carrel.domain.ids import TenantId
from carrel.domain.layout import Isolation
from carrel.domain.library import Tenant
from carrel.store.pages import Page, Place, page, place_of
from carrel.store.transaction import Database, Statement, Transaction

_LISTED: Final = "tenants"
_COLUMNS = "id, slug, name, status, isolation, created_at"
_ADD = Statement(f"""
    insert into tenants (id, slug, name, isolation_asked)
    select :id, :slug, :name, :asked::text where not exists (select from tenant_receipts r where r.id = :id)
    returning {_COLUMNS}
""")
# A tenant that was given up is shown to nobody, whatever of it is still being destroyed.
_FIND = Statement(f"""
    select {_COLUMNS} from tenants where (slug = :name or id::text = :name) and status <> 'deleting'
""")
_ANSWERS = Statement("select 1")
_LIST = Statement(f"""
    select {_COLUMNS} from tenants
    where status <> 'deleting' and (:moment::timestamptz is null or (created_at, id) < (:moment, :id::uuid))
    order by created_at desc, id desc limit :most
""")


async def add(tx: Transaction, tenant: TenantId, *, slug: str, name: str, asked: Isolation | None = None) -> Tenant:
    """`asked` is the isolation that it will have whatever its size.

    Raises Conflict `tenant_exists`, also for the id of a tenant that was deleted: whatever is left of that one is still
    looked for and destroyed by its id.
    """
    try:
        row = await tx.row(_ADD, id=tenant, slug=slug, name=name, asked=asked)
    except asyncpg.UniqueViolationError as error:
        raise Conflict(f"A tenant {slug!r} exists already.", code="tenant_exists") from error
    if row is None:
        raise Conflict("This Idempotency-Key made a tenant that was deleted: use a new one.", code="tenant_exists")
    return _tenant(row)


async def reachable(tx: Transaction) -> None:
    """Asks the least that needs a database which answers."""
    await tx.value(_ANSWERS)


async def find(tx: Transaction, name: str) -> Tenant | None:
    """By slug or id."""
    row = await tx.row(_FIND, name=name)
    return _tenant(row) if row else None


async def listed(tx: Transaction, *, limit: int, cursor: str | None) -> Page[Tenant]:
    place = place_of(cursor, of=_LISTED)
    rows = await tx.rows(_LIST, moment=place and place.created_at, id=place and place.id, most=limit + 1)
    places = [Place(row["created_at"], row["id"]) for row in rows]
    return page([_tenant(row) for row in rows], places, limit, of=_LISTED)


async def each(database: Database) -> AsyncIterator[TenantId]:
    """Every tenant, newest first, in short transactions: none is open while the caller works. Raises Unavailable."""
    cursor = None
    while True:
        async with database.transaction(for_machine()) as tx:
            found = await listed(tx, limit=100, cursor=cursor)
        for tenant in found.items:
            yield tenant.id
        if found.next_cursor is None:
            return
        cursor = found.next_cursor


def _tenant(row: Any) -> Tenant:
    return Tenant(
        id=TenantId(row["id"]),
        slug=row["slug"],
        name=row["name"],
        status=row["status"],
        isolation=row["isolation"],
        created_at=row["created_at"],
    )
