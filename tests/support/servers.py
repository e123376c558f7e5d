"""Databases as an administrator of another server would make them, and whole catalogues to compare."""

import secrets
from dataclasses import dataclass
from typing import Any

import asyncpg

from carrel.adapters.postgres import Endpoint
from carrel.store.transaction import plain_url
from support.raw import Raw


@dataclass(frozen=True)
class Hosted:
    """A database on a server that we do not own: an owner's login and a serving login, over TCP with passwords."""

    name: str
    owner_url: str
    app_login: str
    app_url: str
    superuser_url: str


async def a_hosted_database(
    superuser: Raw, endpoint: Endpoint, name: str, *, owner: str = "createrole", extension: bool = True
) -> Hosted:
    """The statements of docs/operating.md. `owner` is what its role may do besides logging in."""
    password = secrets.token_hex(16)
    logins = f"{name}_boss", f"{name}_server"
    await superuser.execute(f"create role {logins[0]} login nosuperuser nobypassrls {owner} password '{password}'")
    await superuser.execute(f"create role {logins[1]} login nosuperuser nobypassrls password '{password}'")
    await superuser.execute(f"create database {name} owner {logins[0]}")
    base = endpoint.superuser_url.rpartition("@")[2].rpartition("/")[0]
    own, app = (f"postgresql://{login}:{password}@{base}/{name}" for login in logins)
    hosted = Hosted(name, own, logins[1], app, endpoint.superuser_url.rpartition("/")[0] + f"/{name}")
    if extension:
        inside = await asyncpg.connect(plain_url(hosted.superuser_url))
        await inside.execute("create extension vector")
        await inside.close()
    return hosted


async def catalogue(connection: Raw) -> dict[str, list[Any]]:
    """Everything that a migration makes in schema carrel, in a form that can be compared."""
    queries = {
        "relations": "select relname, relkind, relrowsecurity, relforcerowsecurity, relacl::text, reloptions"
        " from pg_class where relnamespace = 'carrel'::regnamespace order by 1",
        "columns": "select c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attacl::text"
        " from pg_attribute a join pg_class c on c.oid = a.attrelid"
        " where c.relnamespace = 'carrel'::regnamespace and a.attnum > 0 order by 1, 2",
        "constraints": "select conname, conrelid::regclass::text, pg_get_constraintdef(oid) from pg_constraint"
        " where connamespace = 'carrel'::regnamespace order by 1, 2",
        "indexes": "select indexname, indexdef from pg_indexes where schemaname = 'carrel' order by 1",
        "policies": "select * from pg_policies where schemaname = 'carrel' order by tablename, policyname",
        "functions": "select proname, pg_get_functiondef(oid), proacl::text, proowner::regrole::text from pg_proc"
        " where pronamespace = 'carrel'::regnamespace order by 1",
        "version": "select version_num from carrel.schema_version",
        "comment": "select obj_description('carrel'::regnamespace, 'pg_namespace')",
    }
    return {name: [tuple(row) for row in await connection.fetch(sql)] for name, sql in queries.items()}
