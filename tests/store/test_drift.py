"""Code and schema cannot drift apart: every statement is planned as the serving role on a database just migrated."""

import asyncio
import importlib
import json
import pkgutil
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest

import carrel.store
from carrel.adapters.lexical import postgres
from carrel.adapters.postgres import Endpoint, bootstrap
from carrel.adapters.vectors import pgvector
from carrel.domain.access import for_job, for_machine
from carrel.domain.errors import Unavailable
from carrel.domain.filters import AllOf, Clause, Comparing
from carrel.domain.ids import TenantId, new_id
from carrel.store import catalogue as watch
from carrel.store import schema, sources, tenants
from carrel.store.filters import filtered
from carrel.store.schema import SchemaError
from carrel.store.sources import NewSource
from carrel.store.transaction import Database, Statement
from support.catalogue_checks import problems
from support.raw import Raw, connected, tenant_tables
from support.servers import Hosted, a_hosted_database, catalogue

NAME = "drift"
FILTER = AllOf((Clause("team", Comparing.EQ, ("a",)), Clause("age", Comparing.LT, (3,))))


def statements() -> Iterator[tuple[str, Statement]]:
    """Every constant of the code that is a statement, or becomes one with a filter, by its place."""
    names = [found.name for found in pkgutil.iter_modules(carrel.store.__path__, "carrel.store.") if not found.ispkg]
    for module in (*map(importlib.import_module, names), postgres, pgvector):
        for name, value in vars(module).items():
            place = f"{module.__name__.removeprefix('carrel.')}.{name}"
            if isinstance(value, Statement):
                yield place, value
            elif isinstance(value, str) and "({})" in value:
                yield place, filtered(value, None)[0]
                yield f"{place} filtered", filtered(value, FILTER)[0]


STATEMENTS = dict(statements())


@pytest.fixture(scope="module")
async def migrated(endpoint: Endpoint) -> Endpoint:
    return await a_migrated(endpoint, NAME)


async def a_migrated(endpoint: Endpoint, name: str) -> Endpoint:
    here = replace(endpoint, database=name, owner=f"{name}_owner", app=f"{name}_app")
    await asyncio.to_thread(bootstrap, here)
    assert await schema.migrate(here.owner_url, app_login=here.app)
    return here


@pytest.fixture(scope="module")
async def app(migrated: Endpoint) -> AsyncIterator[Raw]:
    async with connected(migrated.app_url) as connection:
        yield connection


@pytest.fixture(scope="module")
async def superuser(migrated: Endpoint) -> AsyncIterator[Raw]:
    async with connected(migrated.superuser_url) as connection:
        yield connection


# Statements


def test_the_statements_of_the_code_are_found() -> None:
    assert len(STATEMENTS) > 80
    assert {name.split(".")[0] for name in STATEMENTS} == {"store", "adapters"}
    assert {"store.chunks._LOAD", "store.chunks._FITTING_VERSIONS filtered"} <= STATEMENTS.keys()


@pytest.mark.parametrize("name", STATEMENTS)
async def test_the_serving_role_can_plan_it(app: Raw, name: str) -> None:
    """Fails for a column that is not there, a type that does not fit, and a grant that lacks."""
    await app.execute(f"explain (generic_plan) {STATEMENTS[name].sql}")


@pytest.mark.parametrize("name", STATEMENTS)
async def test_every_scan_of_a_tenants_table_is_bound_to_the_tenant(superuser: Raw, name: str) -> None:
    """Planned by the superuser, whom no policy helps: what is seen here, the statement says by itself."""
    mine = set(await tenant_tables(superuser))
    plan = await _generic_plan(superuser, STATEMENTS[name])
    for node in _nodes(plan[0]["Plan"]):
        table = re.sub(r"_p\d\d$", "", str(node.get("Relation Name", "")))
        if table in mine and node["Node Type"] != "ModifyTable":
            conditions = " ".join(str(value) for key, value in node.items() if key.endswith(("Cond", "Filter")))
            assert "tenant_id =" in conditions, (table, node)


async def _generic_plan(connection: Raw, statement: Statement) -> Any:
    """With its parameters left open: a value, above all null, would let the planner fold conditions away."""
    arguments = ", ".join("null" for _ in statement.names)
    async with connection.transaction():
        await connection.execute("set local plan_cache_mode = force_generic_plan")
        await connection.execute(f"prepare looked_at as {statement.sql}")
        execute = f"execute looked_at ({arguments})" if arguments else "execute looked_at"
        plan = json.loads(await connection.fetchval(f"explain (format json) {execute}"))
        await connection.execute("deallocate looked_at")
    return plan


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


@pytest.mark.parametrize("name", STATEMENTS)
async def test_a_statement_on_a_tenants_table_names_the_tenant(superuser: Raw, name: str) -> None:
    statement, mine = STATEMENTS[name], set(await tenant_tables(superuser))
    touched = set(re.findall(r"\b(?:from|join|into|update|using)\s+(\w+)", statement.sql, re.IGNORECASE)) & mine
    assert not touched or "tenant" in statement.names


def test_no_statement_takes_a_tenant_under_another_name() -> None:
    for name, statement in STATEMENTS.items():
        for place in re.findall(r"tenant_id\s*=\s*\$(\d+)", statement.sql):
            assert statement.names[int(place) - 1] == "tenant", name


# Migrations


async def test_migrating_again_does_nothing(migrated: Endpoint, superuser: Raw) -> None:
    before = await catalogue(superuser)
    assert not await schema.migrate(migrated.owner_url, app_login=migrated.app)
    assert await catalogue(superuser) == before


async def test_every_step_can_be_repeated(migrated: Endpoint, superuser: Raw) -> None:
    """Also when the mark that says `done` is lost."""
    before = await catalogue(superuser)
    await superuser.execute("comment on schema carrel is null")
    assert await schema.migrate(migrated.owner_url, app_login=migrated.app)
    assert await catalogue(superuser) == before


async def test_the_last_migrations_can_be_run_twice(migrated: Endpoint, superuser: Raw) -> None:
    before = await catalogue(superuser)
    await superuser.execute("update carrel.schema_version set version_num = '0018'")
    await superuser.execute("comment on schema carrel is null")
    assert await schema.migrate(migrated.owner_url, app_login=migrated.app)
    assert await catalogue(superuser) == before


async def test_many_who_migrate_at_once_end_with_one_schema(endpoint: Endpoint, superuser: Raw) -> None:
    here = replace(endpoint, database="crowd", owner="crowd_owner", app="crowd_app")
    await asyncio.to_thread(bootstrap, here)
    await asyncio.gather(*(schema.migrate(here.owner_url, app_login=here.app) for _ in range(4)))
    async with connected(here.superuser_url) as inside:
        assert await problems(inside) == []
    assert await watch.inspect(here.app_url) == []


@pytest.mark.parametrize("stage", ["create table", "partition of", "create policy", "create or replace function"])
async def test_a_migration_that_is_killed_leaves_a_database_that_migrates(
    endpoint: Endpoint, superuser: Raw, stage: str
) -> None:
    name = "killed_" + stage.replace(" ", "_")
    here = replace(endpoint, database=name, owner=f"{name}_owner", app=f"{name}_app")
    await asyncio.to_thread(bootstrap, here)
    migrating = asyncio.create_task(schema.migrate(here.owner_url, app_login=here.app))
    while not migrating.done():
        await superuser.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and query ilike $2",
            name,
            f"%{stage}%",
        )
    assert isinstance(migrating.exception(), Exception), "it was over before it could be killed"
    assert "run `carrel migrate`" in await findings(here.app_url)

    assert await schema.migrate(here.owner_url, app_login=here.app)

    async with connected(here.superuser_url) as inside:
        assert await problems(inside) == []
        assert await catalogue_of(inside, name) == await catalogue_of(superuser, NAME)
    assert await watch.inspect(here.app_url) == []


async def catalogue_of(connection: Raw, name: str) -> dict[str, list[Any]]:
    """With the database's name taken out of the names of its roles."""
    made: dict[str, list[Any]] = json.loads(
        json.dumps(await catalogue(connection), default=str).replace(f"{name}_", "x_")
    )
    return made


# Another server


async def test_an_owner_who_may_make_roles_migrates_a_hosted_database(endpoint: Endpoint, superuser: Raw) -> None:
    hosted = await a_hosted_database(superuser, endpoint, "hosted")
    await assert_it_serves(hosted)


async def test_an_owner_who_makes_nothing_migrates_what_a_dba_prepared(endpoint: Endpoint, superuser: Raw) -> None:
    hosted = await a_hosted_database(superuser, endpoint, "prepared", owner="nocreaterole")
    for role in ("auth", "index", "jobs", "app"):
        await superuser.execute(f"create role prepared_{role} nologin")
    await superuser.execute("grant prepared_auth, prepared_index, prepared_jobs to prepared_boss with set true")
    await superuser.execute("grant prepared_app to prepared_server with inherit true")
    await assert_it_serves(hosted)


async def assert_it_serves(hosted: Hosted) -> None:
    assert await schema.migrate(hosted.owner_url, app_login=hosted.app_login)
    assert not await schema.migrate(hosted.owner_url, app_login=hosted.app_login)
    assert [finding.sentence for finding in await watch.inspect(hosted.app_url)] == []
    database = await Database.connect(hosted.app_url, connections=2)
    tenant, other = TenantId(new_id()), TenantId(new_id())
    try:
        async with database.transaction(for_machine()) as tx:
            for identifier in (tenant, other):
                await tenants.add(tx, identifier, slug=f"t-{identifier}", name="T")
        async with database.transaction(for_job(tenant, None)) as tx:
            made = await sources.add(tx, NewSource("s"))
        async with database.transaction(for_job(other, None)) as tx:
            assert await sources.named(tx, "s") is None
        async with database.transaction(for_job(tenant, None)) as tx:
            assert (await sources.get(tx, made.id)).name == "s"
    finally:
        await database.close()


async def test_a_role_without_rights_is_told_what_to_do(endpoint: Endpoint, superuser: Raw) -> None:
    weak = await a_hosted_database(superuser, endpoint, "weak", owner="nocreaterole")
    with pytest.raises(SchemaError, match=r"The owner lacks a right: .*docs/operating\.md"):
        await schema.migrate(weak.owner_url, app_login=weak.app_login)
    with pytest.raises(SchemaError, match=r"The owner lacks a right: .*docs/operating\.md"):
        await schema.migrate(weak.app_url, app_login=weak.app_login)
    bare = await a_hosted_database(superuser, endpoint, "bare", extension=False)
    with pytest.raises(SchemaError, match=r"pgvector .* is missing.*create extension vector"):
        await schema.migrate(bare.owner_url, app_login=bare.app_login)


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    for address in ("postgresql://a:b@127.0.0.1:1/c", "postgresql+asyncpg://a:b@127.0.0.1:1/c"):
        with pytest.raises(Unavailable):
            await schema.migrate(address, app_login="a")
        with pytest.raises(Unavailable):
            await watch.inspect(address)


# What is looked at before anything is served


async def findings(url: str) -> str:
    return " ".join(finding.sentence for finding in await watch.inspect(url))


async def test_a_sound_database_has_no_findings(migrated: Endpoint) -> None:
    assert await findings(migrated.app_url) == ""


async def test_a_mighty_serving_role_is_found(migrated: Endpoint) -> None:
    assert "superuser" in await findings(migrated.superuser_url)
    assert "use another" in await findings(migrated.owner_url)


UNSOUND = {
    "a serving role that bypasses": ("alter role {app} bypassrls", "alter role {app} nobypassrls", "use another"),
    "a serving role that owns": (
        "alter table bots owner to {app}",
        "alter table bots owner to {owner}",
        "owns tables of Carrel",
    ),
    "a serving role that may become a definer": (
        "grant {index} to {app}",
        "revoke {index} from {app}",
        "is a member of drift_index",
    ),
    "a serving role that may become a superuser": (
        "create role mighty superuser; grant mighty to {app}",
        "drop role mighty",
        "is a member of mighty",
    ),
    "a schema in which anybody may create": (
        "grant create on schema public to public",
        "revoke create on schema public from public",
        "can create objects in schema public",
    ),
    "a way into the tenants' own tables": (
        "grant usage on schema carrel_own to {app}",
        "revoke usage on schema carrel_own from {app}",
        "can enter the schema of the tenants' own index tables",
    ),
    "row-level security switched off": (
        "alter table chunks disable row level security",
        "alter table chunks enable row level security",
        "not forced on table chunks",
    ),
    "row-level security no longer forced": (
        "alter table lexical_entries_p03 no force row level security",
        "alter table lexical_entries_p03 force row level security",
        "not forced on table lexical_entries_p03",
    ),
    "a policy for everybody": (
        "create policy all_of_it on chunks using (true)",
        "drop policy all_of_it on chunks",
        "The policy all_of_it on table chunks is for everybody",
    ),
    "a view with its owner's rights": (
        "create view carrel.everything as select * from chunks; grant select on carrel.everything to {app}",
        "drop view carrel.everything",
        "The view everything shows",
    ),
    "an older schema": (
        "comment on schema carrel is 'revision 0000, functions none'",
        "comment on schema carrel is '{mark}'",
        "run `carrel migrate`",
    ),
}


@pytest.mark.parametrize("name", UNSOUND)
async def test_an_unsound_database_is_found(migrated: Endpoint, superuser: Raw, name: str) -> None:
    spoil, mend, sentence = UNSOUND[name]
    words = {role: f"{NAME}_{role}" for role in ("app", "owner", "index")}
    words["mark"] = await superuser.fetchval("select obj_description('carrel'::regnamespace, 'pg_namespace')")
    await superuser.execute(spoil.format_map(words))
    try:
        assert sentence in await findings(migrated.app_url)
    finally:
        await superuser.execute(mend.format_map(words))
    assert await findings(migrated.app_url) == ""


async def test_an_absent_schema_is_found(endpoint: Endpoint) -> None:
    here = replace(endpoint, database="absent", owner="absent_owner", app="absent_app")
    await asyncio.to_thread(bootstrap, here)
    assert "run `carrel migrate`" in await findings(here.app_url)


async def test_a_database_without_the_extension_is_found(endpoint: Endpoint, superuser: Raw) -> None:
    bare = await a_hosted_database(superuser, endpoint, "bald", extension=False)
    assert "pgvector is not installed" in await findings(bare.app_url)
