"""The third wall alone: raw SQL on the app role's own connection, as if everything above the database were lost."""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pgvector import HalfVector, SparseVector

from carrel.domain.access import for_job, for_machine
from carrel.domain.errors import Unavailable
from carrel.domain.ids import UserId
from carrel.store.transaction import Database, Statement
from support.furnished import Furnished, furnish
from support.raw import REFUSED, Raw, connected, index_relations, posing, tenant_tables
from support.stand import Stand

SOURCE_TABLES = ("sources", "bot_sources", "documents", "document_versions", "chunks")
PRIVATE_TABLES = ("sources", "documents", "document_versions", "chunks", "chats", "messages", "feedback")
EVERY = "*"


@dataclass(frozen=True)
class Field:
    """Two furnished tenants, the attacker's connection (the app role's) and the superuser's, to look behind."""

    mine: Furnished
    theirs: Furnished
    app: Raw
    superuser: Raw

    async def open_tables(self) -> list[str]:
        """The tenant tables that the app role may read at all."""
        hidden = set(await index_relations(self.superuser)) | {"job_turns", "layouts"}
        return [table for table in await tenant_tables(self.superuser) if table not in hidden]


@pytest.fixture(scope="module")
async def field(carrel: Stand) -> AsyncIterator[Field]:
    async with connected(carrel.endpoint.superuser_url) as superuser, connected(carrel.endpoint.app_url) as app:
        mine = await furnish(carrel, "Mine", superuser)
        theirs = await furnish(carrel, "Theirs", superuser)
        yield Field(mine, theirs, app, superuser)


async def counted(connection: Raw, tables: list[str] | tuple[str, ...], where: str = "true") -> dict[str, int]:
    """Tables that show rows, and how many."""
    found = {table: await connection.fetchval(f"select count(*) from {table} where {where}") for table in tables}
    return {table: count for table, count in found.items() if count}


async def refuses(connection: Raw, sql: str, *arguments: Any, error: type[Exception] = REFUSED) -> bool:
    """Whether the statement fails with this error; the surrounding transaction survives."""
    try:
        async with connection.transaction():
            await connection.execute(sql, *arguments)
    except error:
        return True
    return False


# Reading


async def test_without_a_tenant_every_table_is_empty(field: Field) -> None:
    async with posing(field.app):
        assert await counted(field.app, [*await field.open_tables(), "tenants", "operator_keys"]) == {}
    async with posing(field.app, sources=EVERY):
        assert await counted(field.app, [*await field.open_tables(), "tenants", "operator_keys"]) == {}


async def test_a_tenant_sees_rows_of_its_own_only(field: Field) -> None:
    mine = field.mine.tenant.id
    async with posing(field.app, mine, user=field.mine.principal.user, sources=EVERY):
        visible = await counted(field.app, await field.open_tables())
        foreign = await counted(field.app, await field.open_tables(), f"tenant_id <> '{mine}'")
        assert await field.app.fetchval("select array_agg(id) from tenants") == [mine]
        assert await counted(field.app, ["operator_keys"]) == {}
    assert set(visible) == set(await field.open_tables())
    assert foreign == {}


async def test_a_tenant_that_does_not_exist_sees_nothing(field: Field) -> None:
    async with posing(field.app, uuid.uuid4(), user=field.theirs.principal.user, sources=EVERY):
        assert await counted(field.app, [*await field.open_tables(), "tenants"]) == {}


async def test_the_platform_sees_tenants_and_no_content(field: Field) -> None:
    async with posing(field.app, platform="on", sources=EVERY):
        assert await counted(field.app, await field.open_tables()) == {}
        assert await counted(field.app, ["tenants"]) != {}


async def test_what_is_private_is_shown_to_its_owner_only(field: Field) -> None:
    theirs = field.theirs
    owned = f"owner_id = '{theirs.principal.user}'"
    for somebody in (None, uuid.uuid4(), field.mine.principal.user):
        async with posing(field.app, theirs.tenant.id, user=somebody, sources=EVERY):
            assert await counted(field.app, PRIVATE_TABLES, owned) == {}
    async with posing(field.app, theirs.tenant.id, user=theirs.principal.user, sources=EVERY):
        assert set(await counted(field.app, PRIVATE_TABLES, owned)) == set(PRIVATE_TABLES)


async def test_without_a_list_of_sources_nothing_of_any_source_is_shown(field: Field) -> None:
    for sources in (None, "", [uuid.uuid4()], [field.theirs.source]):
        async with posing(field.app, field.mine.tenant.id, user=field.mine.principal.user, sources=sources):
            assert await counted(field.app, SOURCE_TABLES) == {}, sources


async def test_a_list_of_sources_shows_these_and_no_other(field: Field) -> None:
    mine = field.mine
    async with posing(field.app, mine.tenant.id, user=mine.principal.user, sources=[mine.source]):
        assert set(await counted(field.app, SOURCE_TABLES)) == set(SOURCE_TABLES)
        assert await field.app.fetchval("select array_agg(id) from sources") == [mine.source]
        others = {table: f"source_id <> '{mine.source}'" for table in SOURCE_TABLES if table != "sources"}
        for table, where in others.items():
            assert await counted(field.app, [table], where) == {}


@pytest.mark.parametrize("nonsense", ["everything", "**", "*,*", "' or true --", "{}"])
async def test_a_list_of_sources_that_is_not_one_fails_or_shows_nothing(field: Field, nonsense: str) -> None:
    async with posing(field.app, field.mine.tenant.id, user=field.mine.principal.user, sources=nonsense):
        for table in SOURCE_TABLES:
            with suppress(asyncpg.InvalidTextRepresentationError):
                async with field.app.transaction():
                    assert await counted(field.app, [table]) == {}


async def test_index_tables_and_their_partitions_cannot_be_touched(field: Field) -> None:
    relations = await index_relations(field.superuser)
    assert len(relations) == 2 * (1 + 16) + 2
    touches = (
        "select 1 from {0} limit 1",
        "select count(*) from {0}",
        "insert into {0} (tenant_id) values (gen_random_uuid())",
        "update {0} set generation_id = gen_random_uuid()",
        "delete from {0}",
        "truncate {0}",
        "lock table {0}",
        "copy {0} to stdout",
        "create index on {0} (tenant_id)",
        "alter table {0} disable row level security",
    )
    async with posing(field.app, field.mine.tenant.id, user=field.mine.principal.user, sources=EVERY):
        for relation in relations:
            for touch in touches:
                assert await refuses(field.app, touch.format(relation)), touch.format(relation)


async def test_the_walls_cannot_be_taken_down_from_inside(field: Field) -> None:
    database = await field.app.fetchval("select current_database()")
    attempts = (
        "set row_security = off; select * from chunks",
        "alter table chunks disable row level security",
        "alter table chunks no force row level security",
        "create policy mine on chunks to public using (true)",
        "drop policy tenant on chunks",
        "create table carrel.loot as select 1",
        "create function carrel.loot() returns int language sql as 'select 1'",
        "create table public.loot (x int)",
        "create temporary table loot (x int)",
        f"set role {database}_owner",
        f"set role {database}_index",
        f"set role {database}_auth",
        f"set role {database}_jobs",
        "set session authorization postgres",
        "copy (select 1) to program 'true'",
        "select pg_read_file('PG_VERSION')",
        "truncate chunks",
        "select * from pg_authid",
    )
    async with posing(field.app, field.mine.tenant.id, user=field.mine.principal.user, sources=EVERY):
        for attempt in attempts:
            assert await refuses(field.app, attempt), attempt


# Writing


async def test_a_row_cannot_be_written_for_another_tenant(field: Field) -> None:
    """Each of their rows, put in once more under our tenant and under none: the policy refuses all of them."""
    for tenant in (field.mine.tenant.id, None):
        for table in await field.open_tables():
            row = await field.superuser.fetchval(
                f"select to_jsonb(t)::text from {table} t where tenant_id = $1 limit 1", field.theirs.tenant.id
            )
            async with posing(field.app, tenant, user=field.theirs.principal.user, sources=EVERY):
                sql = f"insert into {table} select * from jsonb_populate_record(null::{table}, $1::text::jsonb)"
                assert await refuses(field.app, sql, row), f"{table} as {tenant}"


async def test_another_tenants_rows_cannot_be_changed_or_removed(field: Field) -> None:
    """No grant at all, or no row that could be touched."""
    theirs = field.theirs.tenant.id
    for tenant in (field.mine.tenant.id, None):
        async with posing(field.app, tenant, user=field.theirs.principal.user, sources=EVERY):
            for table in await field.open_tables():
                for sql in (
                    f"delete from {table} where tenant_id = $1",
                    f"update {table} set {await _some(field, table)} where tenant_id = $1",
                ):
                    with suppress(asyncpg.InsufficientPrivilegeError):
                        async with field.app.transaction():
                            assert (await field.app.execute(sql, theirs)).endswith(" 0"), sql


async def _some(field: Field, table: str) -> str:
    """An assignment to a column that the app role may update, or else to the tenant."""
    column = await field.superuser.fetchval(
        "select column_name from information_schema.column_privileges where table_schema = 'carrel'"
        " and table_name = $1 and grantee = $2 and privilege_type = 'UPDATE' limit 1",
        table,
        f"{await field.app.fetchval('select current_database()')}_app",
    )
    return f"{column} = {column}" if column else "tenant_id = tenant_id"


async def test_a_row_cannot_be_moved_to_another_tenant_source_or_owner(field: Field) -> None:
    moves = (
        "tenant_id = gen_random_uuid()",
        "id = gen_random_uuid()",
        "source_id = gen_random_uuid()",
        "owner_id = null",
    )
    async with posing(field.app, field.mine.tenant.id, user=field.mine.principal.user, sources=EVERY):
        for table in await field.open_tables():
            columns = await field.app.fetch(
                "select attname from pg_attribute where attrelid = $1::text::regclass and attnum > 0", table
            )
            for move in moves:
                if move.split(" ", 1)[0] in {row["attname"] for row in columns}:
                    assert await refuses(field.app, f"update {table} set {move}"), f"{table}: {move}"


async def test_nobody_can_write_what_belongs_to_another_user(field: Field) -> None:
    """Their private rows, under their own tenant, but as somebody else of it."""
    theirs = field.theirs
    for table in PRIVATE_TABLES:
        row = await field.superuser.fetchval(
            f"select to_jsonb(t)::text from {table} t where tenant_id = $1 and owner_id = $2 limit 1",
            theirs.tenant.id,
            theirs.principal.user,
        )
        sql = f"insert into {table} select * from jsonb_populate_record(null::{table}, $1::text::jsonb)"
        async with posing(field.app, theirs.tenant.id, user=uuid.uuid4(), sources=EVERY):
            assert await refuses(field.app, sql, row), table


async def test_a_grant_of_one_source_writes_to_no_other(field: Field) -> None:
    mine = field.mine
    other = mine.private
    async with posing(field.app, mine.tenant.id, user=mine.principal.user, sources=[mine.source]):
        for table in ("documents", "document_versions", "chunks"):
            row = await field.superuser.fetchval(
                f"select to_jsonb(t)::text from {table} t where tenant_id = $1 and source_id = $2 limit 1",
                mine.tenant.id,
                other,
            )
            sql = f"insert into {table} select * from jsonb_populate_record(null::{table}, $1::text::jsonb)"
            assert await refuses(field.app, sql, row), table
        give = "insert into bot_sources (tenant_id, bot_id, source_id) values ($1, $2, $3)"
        assert await refuses(field.app, give, mine.tenant.id, mine.bot, other)


async def test_a_child_cannot_be_attached_to_another_tenants_parent(field: Field) -> None:
    """As the superuser, whom no policy holds back: the composite foreign keys alone refuse."""
    keys = await field.superuser.fetch("""
        select c.conrelid::regclass::text as child, c.confrelid::regclass::text as parent, a.attname as child_column,
               f.attname as parent_column
        from pg_constraint c
        join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[2]
        join pg_attribute f on f.attrelid = c.confrelid and f.attnum = c.confkey[2]
        where c.contype = 'f' and c.connamespace = 'carrel'::regnamespace and cardinality(c.conkey) = 2
          and c.conparentid = 0
    """)
    assert len(keys) >= 14
    for key in keys:
        parent = await field.superuser.fetchval(
            f"select {key['parent_column']} from {key['parent']} where tenant_id = $1 limit 1", field.theirs.tenant.id
        )
        change = (
            f"update {key['child']} set {key['child_column']} = $1 where (tableoid, ctid) ="
            f" (select tableoid, ctid from {key['child']} where tenant_id = $2 limit 1)"
        )
        async with posing(field.superuser):
            refused = await refuses(
                field.superuser, change, parent, field.mine.tenant.id, error=asyncpg.ForeignKeyViolationError
            )
        assert refused, f"{key['child']}.{key['child_column']}"


# Definer functions


async def test_searching_with_anothers_ids_gives_nothing(field: Field) -> None:
    theirs = field.theirs
    dense, words = HalfVector([1.0] * 384), SparseVector({1: 1.0}, 2**29 - 1)
    any_words = await field.superuser.fetchval(
        "select terms from lexical_entries where tenant_id = $1 limit 1", theirs.tenant.id
    )
    searches = (
        ("select * from search_dense($1, $2, $3, null, 100)", dense),
        ("select * from search_lexical($1, $2, $2, $3, null, 100)", words),
        ("select * from search_lexical($1, $2, $2, $3, null, 100)", any_words),
    )
    for tenant in (None, field.mine.tenant.id):
        async with posing(field.app, tenant, user=theirs.principal.user, sources=EVERY):
            for sql, question in searches:
                for generation in (theirs.generation, field.mine.generation):
                    assert await field.app.fetch(sql, generation, question, [theirs.source, theirs.private]) == []
    async with posing(field.app, theirs.tenant.id):
        found = await field.app.fetch(searches[0][0], theirs.generation, dense, [theirs.source])
    assert {row["chunk_id"] for row in found} == set(theirs.chunks)


async def test_statistics_and_counts_of_another_tenant_cannot_be_read(field: Field) -> None:
    theirs = field.theirs.generation
    for tenant in (None, field.mine.tenant.id):
        async with posing(field.app, tenant, sources=EVERY):
            assert await field.app.fetch("select * from lexical_stats_of($1)", theirs) == []
            assert await field.app.fetch("select * from lexical_profiles_of($1)", theirs) == []
            assert await field.app.fetchval("select lexical_stats_revision($1)", theirs) == 0
            assert await field.app.fetchval("select count_dense($1)", theirs) == 0


async def test_anothers_entries_cannot_be_forgotten_copied_overwritten_or_redacted(field: Field) -> None:
    theirs, mine = field.theirs, field.mine
    weighing = "select exists (select from jobs where tenant_id = $1 and kind = 'weigh')"
    while await field.superuser.fetchval(weighing, theirs.tenant.id):  # noqa: ASYNC110 - another process changes it
        await asyncio.sleep(0.02)
    before = await _entries(field, theirs)
    answer = await field.superuser.fetchrow("select * from messages where id = $1", theirs.remembered.message)
    vector, words = HalfVector([0.5] * 384), SparseVector({1: 1.0}, 2**29 - 1)
    cited = theirs.document
    one = [theirs.chunks[0]]
    async with field.app.transaction():
        await field.app.execute("select set_config('carrel.tenant', $1, true)", str(mine.tenant.id))
        await field.app.execute("select forget_dense($1), forget_lexical($1)", theirs.version)
        assert await field.app.fetchval("select redact_answers($1, 'gone')", cited) == 0
        for old, new in ((one, one), (one, [mine.chunks[0]]), (one, [uuid.uuid4()])):
            sql = "select copied from copy_dense($1, $2, $3, $4, $5)"
            assert await field.app.fetchval(sql, theirs.generation, old, new, mine.source, mine.version) == 0
        writes: tuple[tuple[str, Any], ...] = (("put_dense", [vector]), ("put_lexical", [words]))
        for name, value in writes:
            sql = f"select {name}($1, $2, $3, $4, $5)"
            arguments = (theirs.generation, one, [theirs.source], [theirs.version], value)
            assert await refuses(field.app, sql, *arguments, error=asyncpg.ForeignKeyViolationError)
        profile = "select put_lexical_profile($1, $2, 1, '')"
        assert await refuses(
            field.app, profile, theirs.generation, theirs.version, error=asyncpg.ForeignKeyViolationError
        )
    assert await _entries(field, theirs) == before
    assert await field.superuser.fetchrow("select * from messages where id = $1", theirs.remembered.message) == answer


async def test_without_a_tenant_definer_functions_write_nothing(field: Field) -> None:
    one = [field.theirs.chunks[0]]
    vector = [HalfVector([0.5] * 384)]
    before = await _entries(field, field.theirs)
    async with posing(field.app):
        sql = "select put_dense($1, $2, $3, $4, $5)"
        arguments = (field.theirs.generation, one, [field.theirs.source], [field.theirs.version], vector)
        assert await refuses(field.app, sql, *arguments, error=asyncpg.NotNullViolationError)
        enqueue = "select enqueue_job($1, 'ingest', $1, null, interval '0', 1)"
        assert await refuses(field.app, enqueue, uuid.uuid4(), error=asyncpg.NotNullViolationError)
        await field.app.execute("select forget_dense($1), forget_lexical($1)", field.theirs.version)
        assert await field.app.fetchval("select redact_answers($1, 'gone')", field.theirs.document) == 0
        assert await _entries(field, field.theirs) == before


async def _entries(field: Field, whose: Furnished) -> list[Any]:
    dense = "select chunk_id, embedding::text, source_id from dense_entries where tenant_id = $1 order by 1"
    words = "select chunk_id, terms::text, source_id from lexical_entries where tenant_id = $1 order by 1"
    stats = "select revision, chunks, terms, counts from lexical_stats where tenant_id = $1"
    return [await field.superuser.fetch(sql, whose.tenant.id) for sql in (dense, words, stats)]


# What a connection remembers

MARKS = Statement("""
    select pg_backend_pid() as pid, current_setting('carrel.tenant', true) as tenant,
           current_setting('carrel.user', true) as member, current_setting('carrel.sources', true) as sources,
           current_setting('carrel.platform', true) as platform, current_setting('statement_timeout') as patience
""")
TENANT = Statement("select current_setting('carrel.tenant', true)")
PLATFORM = Statement("select current_setting('carrel.platform', true)")
Ending = Callable[[Database, Furnished], Awaitable[None]]


async def _commit(database: Database, whose: Furnished) -> None:
    async with database.transaction(for_job(whose.tenant.id, UserId(uuid.uuid4())), timeout=7) as tx:
        assert await tx.value(TENANT) == str(whose.tenant.id)


async def _roll_back(database: Database, whose: Furnished) -> None:
    with suppress(ZeroDivisionError):
        async with database.transaction(for_job(whose.tenant.id, UserId(uuid.uuid4())), timeout=7) as tx:
            await tx.row(MARKS)
            raise ZeroDivisionError


async def _break(database: Database, whose: Furnished) -> None:
    with suppress(asyncpg.DivisionByZeroError):
        async with database.transaction(for_job(whose.tenant.id, UserId(uuid.uuid4())), timeout=7) as tx:
            await tx.value(Statement("select 1 / 0"))


async def _time_out(database: Database, whose: Furnished) -> None:
    with suppress(Unavailable):
        async with database.transaction(for_job(whose.tenant.id, UserId(uuid.uuid4())), timeout=0.02) as tx:
            await tx.value(Statement("select pg_sleep(5)"))


async def _cancel(database: Database, whose: Furnished) -> None:
    async def sleeping() -> None:
        async with database.transaction(for_job(whose.tenant.id, UserId(uuid.uuid4())), timeout=7) as tx:
            await tx.value(Statement("select pg_sleep(5)"))

    task = asyncio.create_task(sleeping())
    await asyncio.sleep(0.05)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _platform(database: Database, _: Furnished) -> None:
    async with database.transaction(for_machine(), timeout=7) as tx:
        assert await tx.value(PLATFORM) == "on"


@pytest.mark.parametrize("ending", [_commit, _roll_back, _break, _time_out, _cancel, _platform])
async def test_a_pooled_connection_remembers_nothing(field: Field, carrel: Stand, ending: Ending) -> None:
    database = await Database.connect(carrel.endpoint.app_url, connections=1)
    try:
        await ending(database, field.theirs)
        assert database.borrowed == 0
        async with database._pool.acquire() as connection:
            marks = await connection.fetchrow(MARKS.sql)
            assert marks is not None
            kept = [marks["tenant"] or "", marks["member"] or "", marks["sources"] or "", marks["platform"] or ""]
            assert (kept, marks["patience"]) == (["", "", "", ""], "0")
            assert await counted(connection, await field.open_tables()) == {}  # type: ignore[arg-type]
    finally:
        await database.close()


async def test_the_next_borrower_has_settings_of_its_own_only(field: Field, carrel: Stand) -> None:
    database = await Database.connect(carrel.endpoint.app_url, connections=1)
    try:
        async with database.transaction(for_job(field.theirs.tenant.id, field.theirs.principal.user)) as tx:
            first = await tx.row(MARKS)
        async with database.transaction(for_job(field.mine.tenant.id, None)) as tx:
            second = await tx.row(MARKS)
    finally:
        await database.close()
    assert first is not None
    assert second is not None
    assert first["pid"] == second["pid"]
    assert (second["tenant"], second["member"], second["platform"]) == (str(field.mine.tenant.id), "", "")


async def test_a_transaction_is_dead_outside_of_its_block(field: Field, carrel: Stand) -> None:
    async with carrel.database.transaction(for_job(field.mine.tenant.id, None)) as kept:
        pass
    with pytest.raises(asyncpg.InterfaceError):
        await kept.row(MARKS)


async def test_a_statement_takes_its_tenant_from_the_grant_and_from_nobody_else(field: Field, carrel: Stand) -> None:
    which = Statement("select :tenant::uuid")
    async with carrel.database.transaction(for_job(field.mine.tenant.id, None)) as tx:
        assert await tx.value(which) == field.mine.tenant.id
        with pytest.raises(TypeError):
            await tx.value(which, tenant=field.theirs.tenant.id)
    async with carrel.database.transaction(for_machine()) as tx:
        with pytest.raises(KeyError):
            await tx.value(which)
        with pytest.raises(TypeError):
            await tx.value(which, tenant=field.theirs.tenant.id)


SOURCES = Path(__file__).parents[2] / "src" / "carrel"
SESSION_SETTINGS = re.compile(
    r"set_config\s*\([^)]*,\s*(false|'f'|off|no)\s*\)"
    r"|(?<![\w-])set\s+session\b|\bset\s+role\b|\bdiscard\s+(all|temp)|\blisten\s|\bprepare\s|\bdeclare\s.*\bwith\s+hold"
    r"|\bcreate\s+temp|pg_advisory_lock\w*",
    re.IGNORECASE,
)


OUTSIDE_THE_POOL = {"schema.py": ["pg_advisory_lock"], "transaction.py": ["pg_advisory_lock_shared"]}


@pytest.mark.parametrize("path", sorted((SOURCES / "store").glob("*.py")), ids=lambda path: path.name)
def test_no_statement_changes_the_session(path: Path) -> None:
    """What outlives a transaction would be the next borrower's. Two locks stand on connections outside of the pool."""
    found = [match[0] for match in SESSION_SETTINGS.finditer(path.read_text())]
    assert found == OUTSIDE_THE_POOL.get(path.name, [])
