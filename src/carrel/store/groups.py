"""Group grants as rows: which group of an issuer is which role in which tenant."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg

from carrel.domain.errors import Conflict, NotFound
from carrel.domain.ids import GroupGrantId, TenantId
from carrel.domain.rights import Role
from carrel.store.pages import Page, Place, page, place_of
from carrel.store.transaction import Statement, Transaction

_LISTED: Final = "group_grants"
_COLUMNS: Final = "id, issuer, group_name, for_tenant, role, created_at"
_ADD: Final = Statement(f"""
    insert into group_grants (id, issuer, group_name, for_tenant, role)
    values (:id, :issuer, :group, :tenant, :role) returning {_COLUMNS}
""")
_GET: Final = Statement(f"select {_COLUMNS} from group_grants where id = :id")
_LIST: Final = Statement(f"""
    select {_COLUMNS} from group_grants
    where (:moment::timestamptz is null or (created_at, id) < (:moment, :id::uuid))
    order by created_at desc, id desc limit :most
""")
_REMOVE: Final = Statement("delete from group_grants where id = :id")


@dataclass(frozen=True, slots=True)
class GroupGrant:
    """Whoever comes from the issuer with the group in their token has the role in the tenant."""

    id: GroupGrantId
    issuer: str
    group: str
    tenant: TenantId
    role: Role
    created_at: datetime


async def add(tx: Transaction, grant: GroupGrantId, *, issuer: str, group: str, role: Role) -> GroupGrant:
    """For the transaction's tenant. Raises Conflict `group_grant_exists`."""
    try:
        row = await tx.row(_ADD, id=grant, issuer=issuer, group=group, role=role)
    except asyncpg.UniqueViolationError as error:
        raise Conflict("This group has a role in this tenant already.", code="group_grant_exists") from error
    return _grant(row)


async def get(tx: Transaction, grant: GroupGrantId) -> GroupGrant:
    """Raises NotFound."""
    row = await tx.row(_GET, id=grant)
    if row is None:
        raise NotFound
    return _grant(row)


async def listed(tx: Transaction, *, limit: int, cursor: str | None) -> Page[GroupGrant]:
    """Newest first."""
    place = place_of(cursor, of=_LISTED)
    rows = await tx.rows(_LIST, moment=place and place.created_at, id=place and place.id, most=limit + 1)
    places = [Place(row["created_at"], row["id"]) for row in rows]
    return page([_grant(row) for row in rows], places, limit, of=_LISTED)


async def remove(tx: Transaction, grant: GroupGrantId) -> bool:
    return bool(await tx.run(_REMOVE, id=grant))


def _grant(row: Any) -> GroupGrant:
    return GroupGrant(
        id=GroupGrantId(row["id"]),
        issuer=row["issuer"],
        group=row["group_name"],
        tenant=TenantId(row["for_tenant"]),
        role=Role(row["role"]),
        created_at=row["created_at"],
    )
