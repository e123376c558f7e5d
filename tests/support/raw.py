"""Raw SQL, as an attacker with the app role's connection would send it, and as the superuser who looks behind it."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TypeAlias
from uuid import UUID

import asyncpg
from pgvector.asyncpg import register_vector

from carrel.store.transaction import plain_url

Raw: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

# An app role that reaches for what it has no right to, and a row that its policies refuse: both are SQLSTATE 42501.
REFUSED = asyncpg.InsufficientPrivilegeError


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Raw]:
    connection = await asyncpg.connect(plain_url(url), server_settings={"search_path": "carrel, public"})
    try:
        await register_vector(connection)
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def posing(
    connection: Raw,
    tenant: UUID | None = None,
    *,
    user: UUID | None = None,
    sources: str | Iterable[UUID] | None = None,
    platform: str | None = None,
    end_user: str | None = None,
) -> AsyncIterator[Raw]:
    """A transaction with these settings and no other, rolled back at the end. None leaves a setting unset."""
    wanted = {
        "carrel.tenant": tenant and str(tenant),
        "carrel.user": user and str(user),
        "carrel.sources": sources if sources is None or isinstance(sources, str) else ",".join(map(str, sources)),
        "carrel.platform": platform,
        "carrel.end_user": end_user,
    }
    transaction = connection.transaction()
    await transaction.start()
    try:
        for name, value in wanted.items():
            if value is not None:
                await connection.execute("select set_config($1, $2, true)", name, value)
        yield connection
    finally:
        await transaction.rollback()


async def tenant_tables(connection: Raw) -> list[str]:
    """Every table with a tenant_id, without partitions."""
    rows = await connection.fetch(
        "select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'"
        " where c.relnamespace = 'carrel'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition"
        " order by c.relname"
    )
    return [row["relname"] for row in rows]


async def index_relations(connection: Raw) -> list[str]:
    """The index tables and each of their partitions."""
    rows = await connection.fetch(
        "select c.relname from pg_class c where c.relnamespace = 'carrel'::regnamespace and c.relkind in ('r', 'p')"
        " and (c.relname like 'dense_entries%' or c.relname like 'lexical%') order by c.relname"
    )
    return [row["relname"] for row in rows]
