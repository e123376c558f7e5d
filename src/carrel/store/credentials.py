"""Keys as rows: made in the tenant's own transaction, found by a definer function before any tenant is known."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg

from carrel.domain.errors import Conflict, NotFound
from carrel.domain.ids import BotId, KeyId, SourceId, TenantId, UserId
from carrel.domain.rights import Role, Scope
from carrel.store.pages import Page, Place, page, place_of
from carrel.store.transaction import Database, Statement, Transaction

_LISTED: Final = "keys"
_LISTED_OPERATORS: Final = "operator_keys"
_COLUMNS = "id, name, scopes, source_ids, bot_ids, expires_at, revoked_at, last_used_at, made_by, created_at"
_FIND = Statement("select * from find_key(:id)")
_ADD = Statement(f"""
    insert into api_keys (tenant_id, id, name, mac, scopes, source_ids, bot_ids, expires_at, made_by)
    values (:tenant, :id, :name, :mac, :scopes, :sources, :bots, :expires_at, :made_by) returning {_COLUMNS}
""")
_FIRST = Statement("select pg_advisory_xact_lock(hashtextextended('the first operator', 0))")
_ADD_OPERATOR = Statement("insert into operator_keys (id, name, mac) values (:id, :name, :mac)")
_ANY_OPERATOR = Statement("select exists (select from operator_keys where revoked_at is null)")
_GET = Statement(f"select {_COLUMNS} from api_keys where tenant_id = :tenant and id = :id")
_LIST = Statement(f"""
    select {_COLUMNS} from api_keys
    where tenant_id = :tenant and (:moment::timestamptz is null or (created_at, id) < (:moment, :id::uuid))
    order by created_at desc, id desc limit :most
""")
_LIST_OPERATORS = Statement("""
    select id, name, '{}'::text[] as scopes, null as source_ids, null as bot_ids, expires_at, revoked_at, last_used_at,
           null as made_by, created_at
    from operator_keys where :moment::timestamptz is null or (created_at, id) < (:moment, :id::uuid)
    order by created_at desc, id desc limit :most
""")
_REVOKE = Statement("""
    update api_keys set revoked_at = now() where tenant_id = :tenant and id = :id and revoked_at is null
""")
_REVOKE_OPERATOR = Statement("update operator_keys set revoked_at = now() where id = :id and revoked_at is null")
_PASSED = Statement("select :moment::timestamptz <= now()")
_USED = Statement("update api_keys set last_used_at = now() where tenant_id = :tenant and id = :id")
_USED_OPERATOR = Statement("update operator_keys set last_used_at = now() where id = :id")


@dataclass(frozen=True, slots=True)
class FoundKey:
    """What the lookup says of a key: enough to judge it, and whether its last use is worth writing down again."""

    kind: str
    tenant: TenantId | None
    mac: bytes
    scopes: frozenset[Scope]
    sources: frozenset[SourceId] | None
    bots: frozenset[BotId] | None
    expires_at: datetime | None
    expired: bool
    revoked: bool
    active: bool
    stale: bool
    made_by: UserId | None
    role: Role | None


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as its tenant's managers see it; never its secret."""

    id: KeyId
    name: str
    scopes: frozenset[Scope]
    sources: frozenset[SourceId] | None
    bots: frozenset[BotId] | None
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    made_by: UserId | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewKey:
    id: KeyId
    name: str
    mac: bytes
    scopes: frozenset[Scope]
    sources: frozenset[SourceId] | None = None
    bots: frozenset[BotId] | None = None
    expires_at: datetime | None = None
    made_by: UserId | None = None


async def find(database: Database, key: KeyId) -> FoundKey | None:
    """In one message: before the key is known there is nobody to bind a transaction to."""
    row = await database.look_up(_FIND, id=key)
    return _found(row) if row else None


def _found(row: Any) -> FoundKey:
    return FoundKey(
        kind=row["kind"],
        tenant=row["tenant_id"] and TenantId(row["tenant_id"]),
        mac=row["mac"],
        scopes=frozenset(map(Scope, row["scopes"])),
        sources=_sources(row["source_ids"]),
        bots=_bots(row["bot_ids"]),
        expires_at=row["expires_at"],
        expired=row["expired"],
        revoked=row["revoked"],
        active=row["active"],
        stale=row["stale"],
        made_by=row["made_by"] and UserId(row["made_by"]),
        role=row["role"] and Role(row["role"]),
    )


async def add(tx: Transaction, key: NewKey) -> KeyRow:
    """Raises Conflict `key_exists`: its id follows from an Idempotency-Key whose answer is no longer kept."""
    try:
        return _key(await _added(tx, key))
    except asyncpg.UniqueViolationError as error:
        raise Conflict("This Idempotency-Key made a key long ago: use a new one.", code="key_exists") from error


async def _added(tx: Transaction, key: NewKey) -> Any:
    return await tx.row(
        _ADD,
        id=key.id,
        name=key.name,
        mac=key.mac,
        scopes=sorted(key.scopes),
        sources=None if key.sources is None else list(key.sources),
        bots=None if key.bots is None else list(key.bots),
        expires_at=key.expires_at,
        made_by=key.made_by,
    )


async def add_operator(tx: Transaction, key: KeyId, *, name: str, mac: bytes) -> None:
    await tx.run(_ADD_OPERATOR, id=key, name=name, mac=mac)


async def add_first_operator(tx: Transaction, key: KeyId, *, name: str, mac: bytes) -> bool:
    """False if there is one already. Of several processes that start at once one makes it."""
    await tx.run(_FIRST)
    if await has_operator(tx):
        return False
    await add_operator(tx, key, name=name, mac=mac)
    return True


async def has_operator(tx: Transaction) -> bool:
    return bool(await tx.value(_ANY_OPERATOR))


async def get(tx: Transaction, key: KeyId) -> KeyRow:
    """Raises NotFound."""
    row = await tx.row(_GET, id=key)
    if row is None:
        raise NotFound
    return _key(row)


async def listed(tx: Transaction, *, limit: int, cursor: str | None) -> Page[KeyRow]:
    return await _listed(tx, _LIST, of=_LISTED, limit=limit, cursor=cursor)


async def listed_operators(tx: Transaction, *, limit: int, cursor: str | None) -> Page[KeyRow]:
    """Of the whole installation: an operator's key has no scopes and no limits."""
    return await _listed(tx, _LIST_OPERATORS, of=_LISTED_OPERATORS, limit=limit, cursor=cursor)


async def _listed(tx: Transaction, query: Statement, *, of: str, limit: int, cursor: str | None) -> Page[KeyRow]:
    place = place_of(cursor, of=of)
    rows = await tx.rows(query, moment=place and place.created_at, id=place and place.id, most=limit + 1)
    places = [Place(row["created_at"], row["id"]) for row in rows]
    return page([_key(row) for row in rows], places, limit, of=of)


async def revoke(tx: Transaction, key: KeyId) -> None:
    """Raises NotFound when there is no such key, or it is revoked already."""
    if not await tx.run(_REVOKE, id=key):
        raise NotFound


async def revoke_operator(tx: Transaction, key: KeyId) -> None:
    """Raises NotFound when there is no such key, or it is revoked already."""
    if not await tx.run(_REVOKE_OPERATOR, id=key):
        raise NotFound


async def has_passed(tx: Transaction, moment: datetime) -> bool:
    """By the clock of the database, by which keys expire."""
    return bool(await tx.value(_PASSED, moment=moment))


async def note_use(tx: Transaction, key: KeyId) -> None:
    await tx.run(_USED, id=key)


async def note_operator_use(tx: Transaction, key: KeyId) -> None:
    await tx.run(_USED_OPERATOR, id=key)


def _key(row: Any) -> KeyRow:
    return KeyRow(
        id=KeyId(row["id"]),
        name=row["name"],
        scopes=frozenset(map(Scope, row["scopes"])),
        sources=_sources(row["source_ids"]),
        bots=_bots(row["bot_ids"]),
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
        made_by=row["made_by"] and UserId(row["made_by"]),
        created_at=row["created_at"],
    )


def _sources(ids: list[SourceId] | None) -> frozenset[SourceId] | None:
    return None if ids is None else frozenset(ids)


def _bots(ids: list[BotId] | None) -> frozenset[BotId] | None:
    return None if ids is None else frozenset(ids)
