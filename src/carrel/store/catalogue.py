"""What the database itself says about the walls: asserted at every start, and by the build's own test."""

from dataclasses import dataclass
from typing import Final

import asyncpg

from carrel.store import schema
from carrel.store.transaction import Session, plain_url, translated

_OLDEST_SERVER: Final = 160000
_OLDEST_VECTOR: Final = (0, 8, 2)
ACCOUNT_TABLES: Final = frozenset(
    {
        "users",
        "passwords",
        "identities",
        "group_grants",
        "sessions",
        "refresh_tokens",
        "email_codes",
        "mails",
        "registrations",
    }
)
PLATFORM_TABLES: Final = frozenset({"tenants", "tenant_receipts", "operator_keys", "schema_version"}) | ACCOUNT_TABLES


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, as a sentence."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Look:
    """Versions, and whether the schema is this version's."""

    server: str
    vector: str | None
    current: bool


async def look(url: str) -> Look:
    """For a person who wants to know what is there. Raises Unavailable when it does not answer."""
    with translated():
        connection = await asyncpg.connect(plain_url(url), timeout=10)
    try:
        return Look(
            server=str(await connection.fetchval("show server_version")).split()[0],
            vector=await connection.fetchval("select extversion from pg_extension where extname = 'vector'"),
            current=await schema.is_current(connection),
        )
    finally:
        await connection.close()


async def inspect(url: str) -> list[Finding]:
    """Everything that is wrong with the database as the serving role sees it; empty when all walls stand.

    Raises Unavailable when it does not answer.
    """
    with translated():
        connection = await asyncpg.connect(plain_url(url), timeout=10)
    try:
        return [
            *await _versions(connection),
            *await _role(connection),
            *await _schema(connection),
            *await _row_security(connection),
            *await _holes(connection),
        ]
    finally:
        await connection.close()


async def _versions(connection: Session) -> list[Finding]:
    found = []
    server = int(await connection.fetchval("show server_version_num"))
    if server < _OLDEST_SERVER:
        found.append(Finding(f"PostgreSQL {server // 10000} is too old: 16 or later is needed."))
    vector = await connection.fetchval("select extversion from pg_extension where extname = 'vector'")
    if vector is None:
        found.append(Finding("The extension pgvector is not installed in this database: run `carrel migrate`."))
    elif tuple(int(part) for part in vector.split(".")) < _OLDEST_VECTOR:
        found.append(Finding(f"pgvector {vector} is too old: 0.8.2 or later is needed."))
    return found


async def _role(connection: Session) -> list[Finding]:
    role = await connection.fetchrow(
        "select rolname, rolsuper or rolbypassrls or rolcreaterole as mighty,"
        " exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        "         where n.nspname = 'carrel' and pg_has_role(c.relowner, 'MEMBER')) as owner"
        " from pg_roles where rolname = current_user"
    )
    if role is None or role["mighty"]:
        return [Finding("The serving role is a superuser, bypasses row-level security or makes roles: use another.")]
    if role["owner"]:
        return [Finding(f"The serving role {role['rolname']} owns tables of Carrel: the owner must be another role.")]
    mighty = await connection.fetch(
        "select r.rolname from pg_roles r where r.rolname <> current_user and pg_has_role(r.oid, 'MEMBER')"
        " and (r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolname = any"
        " (select current_database() || suffix from unnest(array['_auth', '_index', '_jobs']) as suffix))"
    )
    return [Finding(f"The serving role is a member of {row['rolname']}: revoke it.") for row in mighty]


async def _schema(connection: Session) -> list[Finding]:
    if await schema.is_current(connection):
        return []
    return [Finding("The database is not at this version's schema: run `carrel migrate`.")]


async def _row_security(connection: Session) -> list[Finding]:
    names = await connection.fetch(
        "select relname from pg_class where relnamespace = to_regnamespace('carrel') and relkind in ('r', 'p')"
        " and relname <> 'schema_version' and not (relrowsecurity and relforcerowsecurity)"
    )
    return [Finding(f"Row-level security is not forced on table {row['relname']}.") for row in names]


_HOLES: Final = """
    select format('The policy %s on table %s is for everybody: name its role.', p.polname, c.relname)
    from pg_policy p join pg_class c on c.oid = p.polrelid
    where c.relnamespace = to_regnamespace('carrel') and 0 = any (p.polroles)
    union all
    select format('The view %s shows what its owner may see: drop it, or make it a security_invoker.', c.relname)
    from pg_class c where c.relnamespace = to_regnamespace('carrel')
      and (c.relkind = 'm' or c.relkind = 'v'
           and not coalesce(c.reloptions, '{}') && array['security_invoker=true', 'security_invoker=on'])
    union all
    select 'The serving role can enter the schema of the tenants'' own index tables: revoke it, also from public.'
    where has_schema_privilege(to_regnamespace('carrel_own'), 'USAGE')
    union all
    select format('The serving role can create objects in schema %s: revoke it, also from public.', n.nspname)
    from pg_namespace n where has_schema_privilege(n.oid, 'CREATE')
      and n.oid in (to_regnamespace('carrel'), (select extnamespace from pg_extension where extname = 'vector'))
"""


async def _holes(connection: Session) -> list[Finding]:
    """What somebody may have opened: permissive policies are OR-ed, and definer functions search these schemas."""
    return [Finding(row[0]) for row in await connection.fetch(_HOLES)]
