"""A tenant that came after the last look at the tables is served as fast as any other."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from carrel.adapters.postgres import Endpoint
from carrel.store import documents, newcomers, sources, twins, versions
from carrel.store.transaction import Statement
from store.test_drift import a_migrated
from support.catalogue_checks import SERVED
from support.raw import Raw, connected

NAME = "plans"
DOCUMENTS = 400
OLD, NEW, SOURCE = (f"00000000-0000-7000-8000-00000000000{digit}" for digit in range(3))
ROWS = """
    insert into documents (tenant_id, id, source_id, key, title, newest_version_id, live_version_id)
    select {tenant}, md5('d' || n)::uuid, {source}, 'k' || n, 't', md5('v' || n)::uuid, md5('v' || n)::uuid
    from generate_series(1, {many}) n;
    insert into document_versions
        (tenant_id, id, document_id, source_id, fingerprint, blob_key, media_type, size, state, stage)
    select {tenant}, md5('v' || n)::uuid, md5('d' || n)::uuid, {source}, '\\x00', 'b', 'text/plain', 1, 'ready',
           'commit'
    from generate_series(1, {many}) n
"""
GIVEN = {
    "id": "md5('d1')::uuid",
    "source": f"'{SOURCE}'",
    "sources": f"array['{SOURCE}'::uuid]",
    "most": "50",
    "limit": "50",
}


@pytest.fixture(scope="module")
async def superuser(endpoint: Endpoint) -> AsyncIterator[Raw]:
    migrated = await a_migrated(endpoint, NAME)
    async with connected(migrated.superuser_url) as connection:
        await connection.execute("set session_replication_role = replica")  # rows without their parents
        for tenant in (OLD, NEW):
            await connection.execute(
                f"insert into sources (tenant_id, id, name, kind, visibility, duplicates, chunk_size, chunk_overlap)"
                f" values ('{tenant}', '{SOURCE}', 's', 'upload', 'tenant', 'allow', 240, 32)"
            )
        await connection.execute(ROWS.format(tenant=f"'{OLD}'::uuid", source=f"'{SOURCE}'::uuid", many=DOCUMENTS))
        await connection.execute("analyze")
        await connection.execute(ROWS.format(tenant=f"'{NEW}'::uuid", source=f"'{SOURCE}'::uuid", many=DOCUMENTS))
        yield connection


@pytest.fixture(scope="module")
async def newborn(endpoint: Endpoint) -> AsyncIterator[Raw]:
    """Migrated just now, with one document."""
    migrated = await a_migrated(endpoint, "newborn")
    async with connected(migrated.superuser_url) as connection:
        await connection.execute("set session_replication_role = replica")
        await connection.execute(ROWS.format(tenant=f"'{OLD}'::uuid", source=f"'{SOURCE}'::uuid", many=1))
        await connection.execute("set plan_cache_mode = force_generic_plan")
        yield connection


async def test_nothing_is_known_of_how_many_rows_a_tenant_has(superuser: Raw) -> None:
    """So that no plan rests on it; index tables, of which one scan is the plan, keep their statistics."""
    rows = await superuser.fetch(
        "select c.relname, a.attstattarget from pg_class c join pg_attribute a on a.attrelid = c.oid"
        " where a.attname = 'tenant_id' and c.relnamespace = 'carrel'::regnamespace and c.relkind = 'r'"
    )
    assert {row["relname"] for row in rows if row["attstattarget"] == 0} >= SERVED
    seen = (
        "select count(*) from pg_stats where schemaname = 'carrel' and attname = 'tenant_id' and tablename = any ($1)"
    )
    assert await superuser.fetchval(seen, sorted(SERVED)) == 0


@pytest.mark.parametrize(
    "statement",
    [documents._GET, documents._LIST, sources._GET, sources._LIST, sources._SIZES, versions._LOAD],
)
async def test_a_new_tenants_documents_are_found_by_their_ids(superuser: Raw, statement: Statement) -> None:
    values = ", ".join(f"'{NEW}'" if name == "tenant" else GIVEN.get(name, "null") for name in statement.names)
    await superuser.execute(f"prepare looked_at as {statement.sql}")
    await superuser.execute("set plan_cache_mode = force_custom_plan")
    plan = json.loads(await superuser.fetchval(f"explain (analyze, format json) execute looked_at ({values})"))
    await superuser.execute("deallocate looked_at")
    walked = sum(node.get("Rows Removed by Join Filter", 0) * node["Actual Loops"] for node in _nodes(plan[0]["Plan"]))
    assert walked <= DOCUMENTS, plan


@pytest.mark.parametrize(
    "statement",
    [
        versions._STAGE,
        versions._LIVE,
        versions._LOAD,
        versions._HAS_BYTES,
        versions._DELIVERED_AGAIN,
        twins._LIVE_TWIN,
        newcomers._OPEN,
    ],
)
async def test_plans_that_were_made_in_a_new_database_stay_good(newborn: Raw, statement: Statement) -> None:
    """Nothing was analyzed yet: what a connection plans for its first document serves for its thousandth."""
    values = ", ".join("null" for _ in statement.names)
    await newborn.execute(f"prepare looked_at as {statement.sql}")
    plan = json.loads(await newborn.fetchval(f"explain (format json) execute looked_at ({values})"))
    await newborn.execute("deallocate looked_at")
    scans = [node for node in _nodes(plan[0]["Plan"]) if node.get("Relation Name") == "document_versions"]
    conditions = [inner["Index Cond"] for scan in scans for inner in _nodes(scan) if "Index Cond" in inner]
    assert conditions
    assert all(" AND " in condition for condition in conditions), plan


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)
