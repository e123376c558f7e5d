"""The build's own catalogue test: a migration that leaves a wall open does not pass, whatever table it brings."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from carrel.adapters.postgres import Endpoint, bootstrap
from carrel.store import schema
from support.catalogue_checks import problems
from support.raw import Raw, connected

NAME = "fresh"


@pytest.fixture(scope="module")
async def fresh(endpoint: Endpoint) -> AsyncIterator[Raw]:
    """The superuser in a database that was migrated just now."""
    here = replace(endpoint, database=NAME, owner=f"{NAME}_owner", app=f"{NAME}_app")
    bootstrap(here)
    await schema.migrate(here.owner_url, app_login=here.app)
    async with connected(here.superuser_url) as superuser:
        yield superuser


async def test_every_wall_of_a_fresh_database_stands(fresh: Raw) -> None:
    assert await problems(fresh) == []


async def test_the_tables_of_the_design_are_there(fresh: Raw) -> None:
    """Lest the checks pass because they look at nothing."""
    tables = await fresh.fetchval(
        "select count(*) from pg_class where relnamespace = 'carrel'::regnamespace and relkind in ('r', 'p')"
    )
    definers = await fresh.fetchval(
        "select count(*) from pg_proc where prosecdef and pronamespace = 'carrel'::regnamespace"
    )
    assert tables > 50
    assert definers == len(schema.functions()) > 15


TABLE = "create table carrel.notes (tenant_id uuid not null references tenants (id), id uuid not null, text text"
CLOSED = "alter table carrel.notes enable row level security; alter table carrel.notes force row level security"
GOOD = f"{TABLE}, primary key (tenant_id, id)); {CLOSED}"

SABOTAGE = {
    "a table without row-level security": (
        f"{TABLE}, primary key (tenant_id, id))",
        "notes has no forced row-level security",
    ),
    "row-level security that is not forced": (
        f"{TABLE}, primary key (tenant_id, id)); alter table notes enable row level security",
        "notes has no forced row-level security",
    ),
    "row-level security switched off": (
        "alter table chunks disable row level security",
        "chunks has no forced row-level security",
    ),
    "a partition that is open": (
        "alter table lexical_entries_p07 no force row level security",
        "lexical_entries_p07 has no forced row-level security",
    ),
    "a table without a tenant": (
        f"create table carrel.notes (id uuid primary key); {CLOSED}",
        "notes has no tenant_id NOT NULL",
    ),
    "a tenant that may be null": (
        f"create table carrel.notes (tenant_id uuid, id uuid); {CLOSED}",
        "notes has no tenant_id NOT NULL",
    ),
    "a primary key by id alone": (
        f"{TABLE}, primary key (id)); {CLOSED}",
        "notes_pkey is a unique index that does not begin with tenant_id",
    ),
    "a primary key with the tenant behind": (
        f"{TABLE}, primary key (id, tenant_id)); {CLOSED}",
        "notes_pkey is a unique index that does not begin with tenant_id",
    ),
    "a unique name over all tenants": (
        "create unique index bots_slug on bots (lower(name))",
        "bots_slug is a unique index that does not begin with tenant_id",
    ),
    "a unique hash over all tenants": (
        "create unique index by_hash on document_versions (fingerprint)",
        "by_hash is a unique index that does not begin with tenant_id",
    ),
    "a simple foreign key": (
        (
            "alter table sources add unique (id);"
            f"{TABLE}, source_id uuid references sources (id), primary key (tenant_id, id)); {CLOSED}"
        ),
        "notes_source_id_fkey on notes is a foreign key that does not begin with tenant_id on both sides",
    ),
    "a foreign key to a tenant by another column": (
        f"{TABLE}, other uuid references tenants (id), primary key (tenant_id, id)); {CLOSED}",
        "notes_other_fkey on notes is a foreign key that does not begin with tenant_id on both sides",
    ),
    "a policy without TO": (
        f"{GOOD}; create policy all_of_it on notes using (true)",
        "all_of_it on notes is a policy for PUBLIC",
    ),
    "a second policy that opens a table": (
        "create policy more on chunks to {app} using (true)",
        "the policy more on chunks is not on the list",
    ),
    "a policy that was widened": (
        "alter policy tenant on documents using (true)",
        "the policy tenant on documents is not on the list",
    ),
    "a policy without its check": (
        (
            "drop policy tenant on documents; create policy tenant on documents to {app}"
            " using (tenant_id = nullif(current_setting('carrel.tenant', true), '')::uuid) with check (true)"
        ),
        "the policy tenant on documents is not on the list",
    ),
    "a private wall that is gone": (
        "drop policy owner on chunks",
        "the policy owner on chunks is missing",
    ),
    "a restrictive policy made permissive": (
        "drop policy source on chunks; create policy source on chunks to {app} using (true)",
        "the policy source on chunks is missing",
    ),
    "a policy of the index role for the app": (
        "alter policy definer_index on dense_entries to {app}",
        "the policy definer_index on dense_entries is not on the list",
    ),
    "a view with its owner's rights": (
        "create view carrel.everything as select * from chunks",
        "everything is a view without security_invoker",
    ),
    "a view that takes it back": (
        "create view carrel.everything with (security_invoker = false) as select * from chunks",
        "everything is a view without security_invoker",
    ),
    "a materialised view": (
        "create materialized view carrel.everything as select * from chunks",
        "everything is a materialised view or a foreign table",
    ),
    "a definer function that is not listed": (
        (
            "create function carrel.peek() returns bigint language sql security definer"
            " as 'select count(*) from carrel.chunks'"
        ),
        "the definer function peek stands in no list",
    ),
    "a definer function in another schema": (
        "create function public.peek() returns int language sql security definer as 'select 1'",
        "the definer function peek stands in no list",
    ),
    "a second definer function of a listed name": (
        (
            "create function carrel.count_jobs(one int) returns bigint language sql security definer"
            " set search_path = carrel, pg_temp as 'select 1'"
        ),
        "the definer function count_jobs exists 2 times",
    ),
    "a definer function with another body": (
        (
            "create or replace function carrel.count_dense(generation uuid) returns bigint language sql stable"
            " security definer set search_path = carrel, public, pg_temp as 'select count(*) from dense_entries'"
        ),
        "the definer function count_dense is not what functions.sql says",
    ),
    "a definer function of a superuser": (
        "alter function carrel.count_jobs() owner to postgres",
        "the definer function count_jobs belongs to postgres",
    ),
    "a definer function with the caller's search_path": (
        "alter function carrel.count_jobs() reset search_path",
        "the definer function count_jobs has no fixed search_path",
    ),
    "a definer function that is gone": (
        "drop function carrel.count_jobs()",
        "the definer function count_jobs exists 0 times",
    ),
    "a definer function for everybody": (
        "grant execute on function carrel.count_jobs() to public",
        "count_jobs can be touched by PUBLIC",
    ),
    "a table for everybody": (
        "grant select on chunks to public",
        "chunks can be touched by PUBLIC",
    ),
    "an index table for the app": (
        "grant select on dense_entries to {app}",
        "dense_entries is open to the serving role",
    ),
    "a partition for the app": (
        "grant select on dense_entries_p03 to {app}",
        "dense_entries_p03 is open to the serving role",
    ),
    "one column of an index table for the app": (
        "grant select (terms) on lexical_stats to {app}",
        "lexical_stats is open to the serving role",
    ),
    "more than rows for the app": (
        "grant truncate on chunks to {app}",
        "chunks gives the serving role more than rows",
    ),
    "an owner that may be changed": (
        "grant update (owner_id) on documents to {app}",
        "documents.owner_id is a column that never changes",
    ),
    "a table that may be changed whole": (
        "grant update on chats to {app}",
        "chats.tenant_id is a column that never changes",
    ),
    "an audit log that may be changed": (
        "grant update (facts) on audit_events to {app}",
        "the role app holds INSERT SELECT UPDATE(facts) on audit_events",
    ),
    "a chain that may be cut": (
        "grant delete on audit_seals to {app}",
        "the role app holds DELETE INSERT SELECT on audit_seals",
    ),
    "an invitation to another role": (
        "grant update (role) on invitations to {app}",
        "the role app holds INSERT SELECT UPDATE(accepted_at, revoked_at, role) on invitations",
    ),
    "a receipt that may be forged": (
        "grant insert on tenant_receipts to {app}",
        "the role app holds INSERT SELECT on tenant_receipts",
    ),
    "a schema for the app": (
        "grant create on schema public to {app}",
        "public is a schema in which the serving role can create",
    ),
    "a schema for everybody": (
        "grant create on schema public to public",
        "public is a schema in which the serving role can create",
    ),
    "a schema for a definer role": (
        "grant create on schema carrel to {index}",
        "carrel by {index} is a schema in which a definer role can create",
    ),
    "temporary tables for the app": (
        "grant temporary on database fresh to {app}",
        "fresh is a database in which the serving role can create",
    ),
    "the app in a definer role": (
        "grant {index} to {app}",
        "{index} is a role that the serving role is a member of",
    ),
    "the app in a role that reads everything": (
        "grant pg_read_all_data to {app}",
        "pg_read_all_data is a role that the serving role is a member of",
    ),
    "an app that bypasses": (
        "alter role {app} bypassrls",
        "{app} is a serving or definer role with too much power",
    ),
    "a definer role that can log in": (
        "alter role {auth} login",
        "{auth} is a serving or definer role with too much power",
    ),
    "a definer role that bypasses": (
        "alter role {jobs} bypassrls",
        "{jobs} is a serving or definer role with too much power",
    ),
    "a definer role with one column more": (
        "grant select (question) on messages to {jobs}",
        "the role jobs holds",
    ),
    "a definer role with one table more": (
        "grant select on chunks to {index}",
        "the role index holds SELECT on chunks",
    ),
    "a table of the app's own": (
        f"{GOOD}; alter table notes owner to {{app}}",
        "notes is owned by a definer or serving role",
    ),
    "a trigger": (
        (
            "create function carrel.f() returns trigger language plpgsql as 'begin return null; end';"
            " create trigger spill after insert on chunks execute function carrel.f()"
        ),
        "spill on chunks is a trigger",
    ),
    "a rule": (
        "create rule spill as on insert to chunks do also select 1",
        "spill on chunks is a rule",
    ),
}


@pytest.mark.parametrize("name", SABOTAGE)
async def test_sabotage_is_found(fresh: Raw, name: str) -> None:
    statements, sentence = SABOTAGE[name]
    roles = {role: f"{NAME}_{role}" for role in ("app", "auth", "index", "jobs")}
    transaction = fresh.transaction()
    await transaction.start()
    try:
        await fresh.execute(statements.format_map(roles))
        found = await problems(fresh)
    finally:
        await transaction.rollback()
    assert any(problem.startswith(sentence.format_map(roles)) for problem in found), found


async def test_a_good_new_table_is_no_problem(fresh: Raw) -> None:
    """Only its policy must be put on the list: without one it shows nothing, which is safe."""
    transaction = fresh.transaction()
    await transaction.start()
    try:
        await fresh.execute(GOOD)
        found = await problems(fresh)
    finally:
        await transaction.rollback()
    assert found == []
