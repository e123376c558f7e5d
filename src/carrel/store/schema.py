"""Bringing a database to the present schema: roles, migrations, definer functions. Runs as the owner alone."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import asyncpg

from carrel.domain.errors import Refusal, Unavailable
from carrel.store.transaction import Session, plain_url, translated

_HERE: Final = Path(__file__).parent
_VERSIONS: Final = _HERE / "migrations" / "versions"
_FUNCTIONS: Final = _HERE / "functions.sql"
_DEFINERS: Final = ("auth", "index", "jobs")
# Of a tenant that came after the last look at a table, statistics say that it has no rows. The planner then finds one
# document by walking all of the tenant's, since it expects one. Without them it expects an average share.
_BLIND: Final = """
    do $$
    declare found record;
    begin
        for found in
            select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
            where c.relnamespace = 'carrel'::regnamespace and c.relkind = 'r' and not c.relispartition
              and a.attstattarget is distinct from 0
        loop
            execute format('alter table carrel.%I alter column tenant_id set statistics 0', found.relname);
            if current_setting('server_version_num')::int >= 180000 then
                perform pg_clear_attribute_stats('carrel', found.relname::text, 'tenant_id', false);
            end if;
        end loop;
    end $$
"""
# Plans that are made on new tables are kept until these are analyzed for the first time, and there whatever begins with
# the tenant looks as good as a key. So a new table is taken for one of a thousand rows.
_LARGE: Final = """
    do $$
    declare found record;
    begin
        if current_setting('server_version_num')::int < 180000 then
            return;
        end if;
        for found in
            select c.relname from pg_class c
            where c.relnamespace = 'carrel'::regnamespace and c.relkind = 'r' and not c.relispartition
              and c.reltuples < 0
        loop
            perform pg_restore_relation_stats('schemaname', 'carrel', 'relname', found.relname::text,
                                              'relpages', 1, 'reltuples', 1000::real);
        end loop;
    end $$
"""
_LOCK: Final = 0x43415252454C  # "CARREL": one migration at a time in one database


class SchemaError(Refusal):
    """The database cannot be brought to the present schema, or is not there yet; the sentence says what to do."""

    default_code = "schema"


@dataclass(frozen=True, slots=True)
class Function:
    """A definer function of functions.sql: its name, which role owns it, and its statement."""

    name: str
    owner: str
    sql: str


def functions() -> list[Function]:
    return list(_functions(_FUNCTIONS.read_text()))


def head() -> str:
    """The newest revision in the code."""
    return max(path.name.split("_")[0] for path in _VERSIONS.glob("[0-9]*.py"))


def functions_hash() -> str:
    return hashlib.sha256(_FUNCTIONS.read_bytes()).hexdigest()


async def is_current(connection: Session) -> bool:
    """Also true for the app role, which may read the catalogue but not the version table."""
    mark = await connection.fetchval("select obj_description(to_regnamespace('carrel'), 'pg_namespace')")
    return bool(mark == _mark())


async def migrate(owner_url: str, *, app_login: str) -> bool:
    """Bring the database to `head()`; `app_login` is the role that serves. True if anything was done. Repeatable.

    Raises SchemaError with the sentence for the operator, Unavailable when the database does not answer.
    """
    with translated():
        connection = await asyncpg.connect(plain_url(owner_url), timeout=10)
    try:
        if await is_current(connection):
            return False
        await connection.execute("select pg_advisory_lock($1)", _LOCK)
        if await is_current(connection):  # another process was faster
            return False
        await _bring_up(connection, owner_url, app_login)
    except asyncpg.InsufficientPrivilegeError as error:
        raise SchemaError(
            f"The owner lacks a right: {error.args[0]}. See docs/operating.md for the statements."
        ) from error
    except asyncpg.UndefinedObjectError as error:
        raise SchemaError(f"A role is missing: {error.args[0]}. See docs/operating.md for the statements.") from error
    finally:
        await connection.close()
    return True


async def _bring_up(connection: Session, owner_url: str, app_login: str) -> None:
    database = str(await connection.fetchval("select current_database()"))
    await _make_roles(connection, database, app_login)
    await connection.execute("create schema if not exists carrel")
    await _make_extension(connection)
    await _open_extension(connection, database)
    await _run_alembic(owner_url)
    async with connection.transaction():
        await connection.execute(_BLIND)
        await connection.execute(_LARGE)
        await _install_functions(connection, database)
        await connection.execute(f"comment on schema carrel is '{_mark()}'")


async def _make_roles(connection: Session, database: str, app_login: str) -> None:
    owner = await connection.fetchval("select current_user")
    for role in (*_DEFINERS, "app"):
        name = f"{database}_{role}"
        if not await connection.fetchval("select 1 from pg_roles where rolname = $1", name):
            await connection.execute(f'create role "{name}" nologin nosuperuser nobypassrls')
        if role != "app" and not await connection.fetchval("select pg_has_role($1, $2, 'SET')", owner, name):
            await connection.execute(f'grant "{name}" to "{owner}" with set true')
    app = f"{database}_app"
    if app_login != app and not await connection.fetchval("select pg_has_role($1, $2, 'USAGE')", app_login, app):
        await connection.execute(f'grant "{app}" to "{app_login}" with inherit true')


async def _make_extension(connection: Session) -> None:
    if await connection.fetchval("select 1 from pg_extension where extname = 'vector'"):
        return
    try:
        await connection.execute("create extension vector")
    except (asyncpg.InsufficientPrivilegeError, asyncpg.FeatureNotSupportedError, asyncpg.UndefinedFileError) as error:
        raise SchemaError(
            "The extension pgvector (0.8.2 or later) is missing: install it and, as a superuser, run"
            " `create extension vector` in this database."
        ) from error


async def _open_extension(connection: Session, database: str) -> None:
    """The vector operators live in a schema (mostly `public`) that a careful administrator closes to everybody."""
    home = await connection.fetchval(
        "select extnamespace::regnamespace::text from pg_extension where extname = 'vector'"
    )
    for role in ("index", "app"):
        name = f"{database}_{role}"
        if not await connection.fetchval("select has_schema_privilege($1, $2, 'USAGE')", name, home):
            await connection.execute(f'grant usage on schema {home} to "{name}"')


async def _run_alembic(owner_url: str) -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    config = Config()
    config.set_main_option("script_location", str(_HERE / "migrations"))
    config.set_main_option("path_separator", "os")

    def upgrade(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    async def connect() -> Session:
        """Ours, because SQLAlchemy does not know all that asyncpg takes from an address."""
        return await asyncpg.connect(
            plain_url(owner_url), timeout=10, server_settings={"search_path": "carrel, public"}
        )

    engine = create_async_engine("postgresql+asyncpg://", poolclass=NullPool, async_creator=connect)
    async with engine.connect() as connection:
        await connection.run_sync(upgrade)
        await connection.commit()
    await engine.dispose()


async def _install_functions(connection: Session, database: str) -> None:
    """A function's owner must hold CREATE in the schema while it takes the function over; then it loses it again."""
    await connection.execute("set local search_path = carrel, public")
    for role in _DEFINERS:
        await connection.execute(f'grant create on schema carrel to "{database}_{role}"')
    for function in functions():
        await _replace(connection, function, f"{database}_{function.owner}", f"{database}_app")
    for role in _DEFINERS:
        await connection.execute(f'revoke create on schema carrel from "{database}_{role}"')


async def _replace(connection: Session, function: Function, owner: str, app: str) -> None:
    await connection.execute(f"drop function if exists carrel.{function.name}")
    await connection.execute(function.sql)
    await connection.execute(f"revoke all on function carrel.{function.name} from public")
    await connection.execute(f'grant execute on function carrel.{function.name} to "{app}"')
    await connection.execute(f'alter function carrel.{function.name} owner to "{owner}"')


def _functions(text: str) -> Iterator[Function]:
    for part in re.split(r"^-- owner: ", text, flags=re.MULTILINE)[1:]:
        owner, _, sql = part.partition("\n")
        name = re.search(r"create or replace function (\w+)", sql)
        if name is None:
            raise SchemaError("functions.sql holds an owner without a function.")
        yield Function(name[1], owner.strip(), sql)


def _mark() -> str:
    return f"revision {head()}, functions {functions_hash()}"


def login_of(url: str) -> str:
    login = urlsplit(plain_url(url)).username
    if not login:
        raise Unavailable("The database's address names no user.", code="database_address")
    return login
