"""The walls as the catalogue shows them: every way in which a migration could leave one open, as a sentence.

`problems` is empty for a database whose walls stand. What is allowed is written here a second time, by hand.
"""

import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Final

import asyncpg

from carrel.store import schema
from carrel.store.catalogue import ACCOUNT_TABLES, PLATFORM_TABLES
from support.raw import Raw

TENANT: Final = "(NULLIF(current_setting('carrel.tenant'::text, true), ''::text))::uuid"
USER: Final = "(NULLIF(current_setting('carrel.user'::text, true), ''::text))::uuid"
OF_TENANT: Final = f"(tenant_id = {TENANT})"
OF_PLATFORM: Final = "(current_setting('carrel.platform'::text, true) = 'on'::text)"
OF_ACCOUNTS: Final = "(current_setting('carrel.accounts'::text, true) = 'on'::text)"

SERVED: Final = {
    "api_keys",
    "audit_events",
    "audit_seals",
    "bot_sources",
    "bots",
    "brought_files",
    "chats",
    "chunks",
    "citations",
    "deliveries",
    "document_versions",
    "documents",
    "erasure_receipts",
    "feedback",
    "file_batches",
    "file_documents",
    "generations",
    "idempotency_keys",
    "invitations",
    "jobs",
    "memberships",
    "messages",
    "provider_credentials",
    "tenant_keys",
    "quotas",
    "reservations",
    "retentions",
    "source_items",
    "source_runs",
    "sources",
    "usage_days",
    "version_records",
    "webhooks",
}
OWNED: Final = {
    "chats", "chunks", "document_versions", "documents", "file_batches", "file_documents", "brought_files", "feedback",
    "messages", "source_items", "source_runs", "sources", "version_records",
}  # fmt: skip
OF_AN_END_USER: Final = {"chats", "feedback", "messages"}
OF_A_SOURCE: Final = {
    "bot_sources", "chunks", "document_versions", "documents", "file_batches", "file_documents", "source_items",
    "source_runs", "sources", "version_records",
}  # fmt: skip
INDEX: Final = {"dense_entries", "layouts", "lexical_entries", "lexical_profiles", "lexical_stats"}

DEFINERS_MAY: Final[Mapping[str, Mapping[str, str]]] = {
    "auth": {
        "operator_keys": "SELECT(expires_at, id, last_used_at, mac, revoked_at)",
        "api_keys": "SELECT(bot_ids, expires_at, id, last_used_at, mac, made_by, revoked_at, scopes, source_ids,"
        " tenant_id)",
        "tenants": "SELECT(id, name, slug, status)",
        "bot_sources": "SELECT(bot_id, source_id, tenant_id)",
        "memberships": "SELECT(issuer, role, status, tenant_id, user_id)",
        "users": "SELECT(epoch, id, status, verified_at)",
        "sessions": "SELECT(chosen_tenant, ended_at, epoch, expires_at, id, user_id)",
        "invitations": "SELECT(accepted_at, email, expires_at, id, mac, revoked_at, role, tenant_id)",
        "identities": "SELECT(claimed_at, issuer, subject, user_id)",
        "group_grants": "SELECT(for_tenant, group_name, issuer, role)",
    },
    "index": {
        **dict.fromkeys(INDEX, "DELETE INSERT SELECT UPDATE"),
        "tenants": "SELECT(id, isolation, isolation_asked, status) UPDATE(isolation)",
    },
    "jobs": {
        "audit_events": "SELECT(created_at, id, tenant_id)",
        "audit_seals": "SELECT(event_at, event_id, position, tenant_id)",
        "jobs": "INSERT SELECT UPDATE",
        "job_turns": "INSERT SELECT UPDATE",
        "citations": "SELECT(document_id, message_id, n, tenant_id)",
        "deliveries": "SELECT(attempts, due_at, id, lease_epoch, leased_until, period, state, tenant_id, webhook_id)"
        " UPDATE(attempts, lease_epoch, leased_until)",
        "webhooks": "SELECT(enabled, failing_since, id, period, slow, tenant_id)",
        "document_versions": "SELECT(blob_key, checked_at, content_code, created_at, document_id, fingerprint, id,"
        " owner_id, size, tenant_id)",
        "documents": "SELECT(deleted_at, id, tenant_id)",
        "brought_files": "SELECT(blob_key, checked_at, content_code, created_at, id, owner_id, sha256, size,"
        " tenant_id)",
        "feedback": "SELECT(bot_id, created_at, rating, tenant_id)",
        "messages": "SELECT(asked, chat_id, guidance, id, status, tenant_id)"
        " UPDATE(answer, asked, guidance, status, unsupported)",
        "sources": "SELECT(deleted_at, id, kind, owner_id, paused_at, place, schedule, tenant_id)",
        "memberships": "SELECT(role, status, tenant_id, user_id)",
        "users": "SELECT(id, status)",
        "api_keys": "SELECT(expires_at, id, revoked_at, scopes, tenant_id)",
        "tenants": "DELETE SELECT(id, status) UPDATE(name, status)",
        "tenant_receipts": "INSERT SELECT UPDATE(completed_at, credential_id, destroyed, requested_at, requested_by)",
    },
}
# What the serving role may do with each table, and which columns it may change: no other right, on no other table.
SERVING_MAY: Final[Mapping[str, str]] = {
    "api_keys": "INSERT SELECT UPDATE(last_used_at, name, revoked_at)",
    "audit_events": "INSERT SELECT",
    "audit_seals": "INSERT SELECT",
    "bot_sources": "DELETE INSERT SELECT",
    "bots": "DELETE INSERT SELECT UPDATE(credential_id, instructions, model, name, retrieval)",
    "chats": "DELETE INSERT SELECT UPDATE(title, updated_at)",
    "chunks": "DELETE INSERT SELECT",
    "citations": "DELETE INSERT SELECT",
    "deliveries": "DELETE INSERT SELECT UPDATE(attempts, due_at, finished_at, lease_epoch, leased_until,"
    " milliseconds, period, problem, response_code, state)",
    "document_versions": "DELETE INSERT SELECT UPDATE(attempts, checked_at, chunks, content_code, crashes,"
    " failure_code,"
    " failure_detail,"
    " failure_retryable, progress, requested_by, stage, state, updated_at)",
    "documents": "INSERT SELECT UPDATE(attributes, created_at, deleted_at, deliveries, live_version_id,"
    " newest_version_id, same_as, title, updated_at)",
    "email_codes": "DELETE INSERT SELECT UPDATE(attempts, used_at)",
    "erasure_receipts": "INSERT SELECT UPDATE(completed_at)",
    "feedback": "DELETE INSERT SELECT UPDATE(rating, reason, updated_at)",
    "file_batches": "INSERT SELECT",
    "file_documents": "DELETE INSERT SELECT",
    "brought_files": "DELETE INSERT SELECT UPDATE(checked_at, content_code)",
    "generations": "INSERT SELECT UPDATE(state)",
    "group_grants": "DELETE INSERT SELECT",
    "idempotency_keys": "DELETE INSERT SELECT UPDATE(body, held_until, holder, source_ids, status)",
    "identities": "DELETE INSERT SELECT UPDATE(claimed_at, email)",
    "invitations": "INSERT SELECT UPDATE(accepted_at, revoked_at)",
    "jobs": "DELETE SELECT UPDATE(asked_again, attempts, due_at, leased_until)",
    "mails": "DELETE INSERT SELECT UPDATE(attempts, due_at)",
    "memberships": "DELETE INSERT SELECT UPDATE(issuer, role, status)",
    "messages": "DELETE INSERT SELECT UPDATE(answer, status)",
    "operator_keys": "INSERT SELECT UPDATE(last_used_at, revoked_at)",
    "passwords": "INSERT SELECT UPDATE(changed_at, hash)",
    "provider_credentials": "DELETE INSERT SELECT UPDATE(base_url, ciphertext, key_version, last_four, name,"
    " nonce, rotated_at)",
    "quotas": "INSERT SELECT UPDATE(bytes_hard, bytes_held, bytes_soft, bytes_used, documents_hard, documents_soft,"
    " documents_used, month, questions_hard, questions_held, questions_soft, questions_used, rates,"
    " tokens_hard, tokens_held, tokens_soft, tokens_used)",
    "refresh_tokens": "DELETE INSERT SELECT UPDATE(replaced_at)",
    "registrations": "DELETE INSERT SELECT UPDATE(expires_at, hash, name, organisation)",
    "reservations": "DELETE INSERT SELECT UPDATE(bytes, expires_at)",
    "retentions": "DELETE INSERT SELECT UPDATE(chat_days)",
    "sessions": "DELETE INSERT SELECT UPDATE(chosen_tenant, ended_at, epoch, expires_at, last_used_at)",
    "source_items": "DELETE INSERT SELECT UPDATE(changed_at, failure_code, failure_detail, fingerprint,"
    " revision, seen_in, tag)",
    "source_runs": "DELETE INSERT SELECT UPDATE(accepts_empty, created, deleted, ended_at, failed, found, problem_code,"
    " problem_detail, replaced, state, unchanged)",
    "sources": "INSERT SELECT UPDATE(accepts_empty, chunk_overlap, chunk_size, deleted_at, duplicates, metadata, name,"
    " paused_at, place, schedule)",
    "tenant_keys": "DELETE INSERT SELECT UPDATE(master_id, nonce, wrapped)",
    "tenant_receipts": "SELECT",
    "tenants": "INSERT SELECT UPDATE(name, status)",
    "usage_days": "INSERT SELECT UPDATE(bytes, cost, events, input_tokens, output_tokens, unpriced)",
    "users": "INSERT SELECT UPDATE(epoch, name, status, verified_at)",
    "version_records": "DELETE INSERT SELECT UPDATE(brought_by, chunks, created_at, live_from, live_until, number)",
    "webhooks": "DELETE INSERT SELECT UPDATE(ciphertext, deleted_at, description, disabled_reason, enabled, events,"
    " failing_since, former_ciphertext, former_key_version, former_nonce, former_until, key_version, nonce, period,"
    " slow, updated_at, url)",
}
# What goes with a tenant that was given up, and which columns are asked for beside the tenant and the row's place.
DESTROYED: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys({*SERVED, "job_turns"}, frozenset()),
    "chats": frozenset({"owner_id", "updated_at"}),
    "document_versions": frozenset({"document_id"}),
    "documents": frozenset({"id"}),
    "sources": frozenset({"owner_id"}),
}
NEVER_CHANGED: Final = {
    "tenant_id", "id", "source_id", "owner_id", "end_user", "document_id", "version_id", "mac", "scopes",
}  # fmt: skip

_OURS = "n.nspname = 'carrel'"
_OWN = "n.nspname = 'carrel_own'"
_TABLES = "pg_class c join pg_namespace n on n.oid = c.relnamespace"
_COLUMN = "(select a.attname from pg_attribute a where a.attrelid = {0} and a.attnum = {1})"

# Each query names what is wrong; {app} is the serving role, {platform} the tables without a tenant.
QUERIES: Final[Mapping[str, str]] = {
    "has no tenant_id NOT NULL": f"""
        select c.relname from {_TABLES} where {_OURS} and c.relkind in ('r', 'p') and c.relname <> all ({{platform}})
          and not exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id'
                          and a.attnotnull and a.atttypid = 'uuid'::regtype)""",
    "has no forced row-level security": f"""
        select c.relname from {_TABLES} where {_OURS} and c.relkind in ('r', 'p') and c.relname <> 'schema_version'
          and not (c.relrowsecurity and c.relforcerowsecurity)""",
    "is a unique index that does not begin with tenant_id": f"""
        select i.indexrelid::regclass::text from pg_index i join {_TABLES} on c.oid = i.indrelid
        where {_OURS} and c.relname <> all ({{platform}}) and (i.indisunique or i.indisexclusion)
          and {_COLUMN.format("i.indrelid", "i.indkey[0]")} is distinct from 'tenant_id'""",
    "is a foreign key that does not begin with tenant_id on both sides": f"""
        select f.conname || ' on ' || c.relname from pg_constraint f join {_TABLES} on c.oid = f.conrelid
        join pg_class p on p.oid = f.confrelid
        where {_OURS} and f.contype = 'f' and c.relname <> all ({{platform}}) and not (
            {_COLUMN.format("f.conrelid", "f.conkey[1]")} = 'tenant_id'
            and ({_COLUMN.format("f.confrelid", "f.confkey[1]")} = 'tenant_id'
                 or (p.relname = 'tenants' and {_COLUMN.format("f.confrelid", "f.confkey[1]")} = 'id'
                     and cardinality(f.conkey) = 1)))""",
    "is a policy for PUBLIC": f"""
        select p.polname || ' on ' || c.relname from pg_policy p join {_TABLES} on c.oid = p.polrelid
        where {_OURS} and 0 = any (p.polroles)""",
    "is a view without security_invoker": f"""
        select c.relname from {_TABLES} where {_OURS} and c.relkind = 'v'
          and not coalesce(c.reloptions, '{{{{}}}}') && array['security_invoker=true', 'security_invoker=on']""",
    "is a materialised view or a foreign table": f"""
        select c.relname from {_TABLES} where {_OURS} and c.relkind in ('m', 'f')""",
    "is a trigger": f"""
        select t.tgname || ' on ' || c.relname from pg_trigger t join {_TABLES} on c.oid = t.tgrelid
        where {_OURS} and not t.tgisinternal""",
    "is a rule": f"""
        select r.rulename || ' on ' || c.relname from pg_rewrite r join {_TABLES} on c.oid = r.ev_class
        where {_OURS} and r.rulename <> '_RETURN'""",
    "is an event trigger": "select evtname from pg_event_trigger",
    "can be touched by PUBLIC": f"""
        select c.relname from {_TABLES}, aclexplode(c.relacl) a where {_OURS} and a.grantee = 0
        union select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where {_OURS} and has_function_privilege('public', p.oid, 'execute')""",
    "is open to the serving role": f"""
        select c.relname from {_TABLES} where {_OURS} and c.relkind in ('r', 'p')
          and (c.relname = any ({{closed}}) or c.relispartition)
          and (has_table_privilege({{app}}, c.oid, 'select, insert, update, delete, truncate, references, trigger')
               or has_any_column_privilege({{app}}, c.oid, 'select, insert, update, references'))""",
    "gives the serving role more than rows": f"""
        select c.relname from {_TABLES} where {_OURS} and c.relkind in ('r', 'p')
          and (has_table_privilege({{app}}, c.oid, 'truncate, references, trigger')
               or has_table_privilege({{app}}, c.oid, 'select with grant option'))""",
    "is a column that never changes, and the serving role may change it": f"""
        select c.relname || '.' || a.attname from {_TABLES} join pg_attribute a on a.attrelid = c.oid
        where {_OURS} and c.relkind in ('r', 'p') and a.attname = any ({{fixed}})
          and has_column_privilege({{app}}, c.oid, a.attnum, 'update')""",
    "is a schema in which the serving role can create": """
        select n.nspname from pg_namespace n where has_schema_privilege({app}, n.oid, 'create')""",
    "is a schema in which a definer role can create": """
        select n.nspname || ' by ' || r.rolname from pg_namespace n, pg_roles r
        where r.rolname = any ({definers}) and has_schema_privilege(r.oid, n.oid, 'create')
          and (r.rolname, n.nspname) <> ({index}, 'carrel_own')""",
    "is a database in which the serving role can create": """
        select d.datname from pg_database d
        where d.datname = current_database() and has_database_privilege({app}, d.oid, 'create, temporary')""",
    "is a role that the serving role is a member of": """
        select r.rolname from pg_roles r where r.rolname <> {app} and pg_has_role({app}, r.oid, 'member')""",
    "is a serving or definer role with too much power": """
        select r.rolname from pg_roles r
        where (r.rolname = {app}
               and (r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolcreatedb or r.rolreplication))
           or (r.rolname = any ({definers})
               and (r.rolcanlogin or r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolcreatedb))""",
    "is a schema of own tables that another role than the index may enter": """
        select n.nspname from pg_namespace n, aclexplode(n.nspacl) a
        where n.nspname = 'carrel_own' and a.grantee not in (n.nspowner, {index}::regrole)""",
    "is an own table that is not the index role's alone": f"""
        select c.relname from {_TABLES} where {_OWN} and (c.relowner <> {{index}}::regrole
          or exists (select from aclexplode(c.relacl) a where a.grantee <> c.relowner))""",
    "is an own table without forced row-level security": f"""
        select c.relname from {_TABLES} where {_OWN} and c.relkind = 'r'
          and not (c.relrowsecurity and c.relforcerowsecurity)""",
    "is an own table with a policy for another role than the index": f"""
        select c.relname from pg_policy p join {_TABLES} on c.oid = p.polrelid
        where {_OWN} and p.polroles <> array[{{index}}::regrole::oid]""",
    "is an own table that could hold another tenant's rows": f"""
        select c.relname from {_TABLES} where {_OWN} and c.relkind = 'r' and not exists (
            select from pg_constraint k join tenants t
              on pg_get_constraintdef(k.oid) = format('CHECK ((tenant_id = %L::uuid))', t.id)
            where k.conrelid = c.oid and k.contype = 'c' and k.convalidated
              and c.relname in (select kind || '_' || replace(t.id::text, '-', '')
                                from unnest(array['dense', 'lexical']) kind))""",
    "is something else than an own table": f"""
        select c.relname from {_TABLES} where {_OWN} and c.relkind not in ('r', 'i')
        union select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace where {_OWN}""",
    "is owned by a definer or serving role": f"""
        select c.relname from {_TABLES} where {_OURS}
          and pg_get_userbyid(c.relowner) = any (array_append({{definers}}, {{app}}))""",
}


async def problems(connection: Raw) -> list[str]:
    """Every wall that does not stand, as a sentence; the connection may be in a transaction that is rolled back."""
    found = [sentence async for sentence in _queried(connection)]
    found += [sentence async for sentence in _policies(connection)]
    found += [sentence async for sentence in _functions(connection)]
    found += [sentence async for sentence in _grants(connection)]
    return found


async def _roles(connection: Raw) -> tuple[str, dict[str, str]]:
    database = await connection.fetchval("select current_database()")
    return f"{database}_app", {name: f"{database}_{name}" for name in DEFINERS_MAY}


async def _queried(connection: Raw) -> AsyncIterator[str]:
    app, definers = await _roles(connection)
    words = {
        "app": f"'{app}'",
        "definers": _array(definers.values()),
        "index": f"'{definers['index']}'",
        "platform": _array(PLATFORM_TABLES),
        "closed": _array({*INDEX, "job_turns", "schema_version"}),
        "fixed": _array(NEVER_CHANGED),
    }
    for sentence, query in QUERIES.items():
        for row in await connection.fetch(query.format_map(words)):
            yield f"{row[0]} {sentence}"


async def _policies(connection: Raw) -> AsyncIterator[str]:
    """Permissive policies are OR-ed, so one too many opens the table: each must be one of these."""
    app, definers = await _roles(connection)
    allowed = set(_allowed_policies(app, definers))
    rows = await connection.fetch(
        "select tablename, policyname, permissive, array_to_string(roles, ',') as roles, cmd, qual, with_check"
        " from pg_policies where schemaname = 'carrel'"
    )
    present = {tuple(row) for row in rows}
    for policy in sorted(present - allowed, key=str):
        yield f"the policy {policy[1]} on {policy[0]} is not on the list: {policy}"
    for policy in sorted(allowed - present, key=str):
        yield f"the policy {policy[1]} on {policy[0]} is missing"


def _allowed_policies(app: str, definers: Mapping[str, str]) -> list[tuple[str | None, ...]]:
    served = [(table, "tenant", "PERMISSIVE", app, "ALL", OF_TENANT, OF_TENANT) for table in SERVED]
    member = f'( SELECT {USER} AS "nullif")'
    private = f"((owner_id IS NULL) OR (owner_id = {member}))"
    owned = [(table, "owner", "RESTRICTIVE", app, "ALL", private, private) for table in OWNED]
    of_sources = []
    for table in OF_A_SOURCE:
        rule = _source_rule("id" if table == "sources" else "source_id")
        of_sources.append((table, "source", "RESTRICTIVE", app, "ALL", rule, rule))
    platform = [(table, "platform", "PERMISSIVE", app, "ALL", OF_PLATFORM, OF_PLATFORM) for table in _PLATFORM]
    accounts = [(table, "accounts", "PERMISSIVE", app, "ALL", OF_ACCOUNTS, OF_ACCOUNTS) for table in ACCOUNT_TABLES]
    own = [
        ("tenants", "own", "PERMISSIVE", app, "SELECT", f"(id = {TENANT})", None),
        ("tenants", "register", "PERMISSIVE", app, "INSERT", None, f"({OF_ACCOUNTS} AND (id = {TENANT}))"),
        ("mails", "post", "PERMISSIVE", app, "INSERT", None, f"(for_tenant = {TENANT})"),
        ("users", "fellow", "PERMISSIVE", app, "SELECT", _FELLOW, None),
    ]
    whole = [
        (table, f"definer_{name}", "PERMISSIVE", definers[name], "ALL", "true", "true")
        for name, tables in DEFINERS_MAY.items()
        for table, rights in tables.items()
        if "UPDATE" in rights
    ]
    readers = [
        (table, f"definer_{name}", "PERMISSIVE", definers[name], "SELECT", "true", None)
        for name, tables in DEFINERS_MAY.items()
        for table, rights in tables.items()
        if "UPDATE" not in rights
    ]
    destroyed = [(table, "destroy", "PERMISSIVE", definers["jobs"], "ALL", _DOOMED, None) for table in DESTROYED]
    owners = [
        (table, "owners", "PERMISSIVE", definers["jobs"], "SELECT", OF_TENANT, None) for table in ("sources", "chats")
    ]
    conversations = [
        *((table, "end_user", "RESTRICTIVE", app, "ALL", _OF_END_USER, _OF_END_USER) for table in OF_AN_END_USER),
        ("citations", "message", "RESTRICTIVE", app, "ALL", _OF_A_MESSAGE, _OF_A_MESSAGE),
        ("chats", "expire", "PERMISSIVE", definers["jobs"], "DELETE", _EXPIRED, None),
    ]
    return [
        *served, *owned, *of_sources, *platform, *accounts, *own, *whole, *readers, *destroyed, *owners, *conversations,
    ]  # fmt: skip


_PLATFORM: Final = ("tenants", "tenant_receipts", "operator_keys")
_DOOMED: Final = (
    f"((tenant_id = {TENANT}) AND ( SELECT (EXISTS ( SELECT\n           FROM tenants t\n          WHERE"
    f" ((t.id = {TENANT}) AND (t.status = 'deleting'::text)))) AS \"exists\"))"
)
_END_USER: Final = "( SELECT COALESCE(current_setting('carrel.end_user'::text, true), ''::text) AS \"coalesce\")"
_OF_END_USER: Final = (
    f"(({_END_USER} = '*'::text) OR (COALESCE(encode(convert_to(end_user, 'UTF8'::name), 'hex'::text), ''::text)"
    f" = {_END_USER}))"
)
_OF_A_MESSAGE: Final = (
    "(EXISTS ( SELECT\n   FROM messages m\n  WHERE ((m.tenant_id = citations.tenant_id)"
    " AND (m.id = citations.message_id))))"
)
_EXPIRED: Final = f"((tenant_id = {TENANT}) AND (updated_at < (now() - '1 day'::interval)))"
_FELLOW: Final = (
    f"(EXISTS ( SELECT\n   FROM memberships m\n  WHERE ((m.tenant_id = {TENANT}) AND (m.user_id = users.id))))"
)


def _source_rule(column: str) -> str:
    setting = "current_setting('carrel.sources'::text, true)"
    every = f"(( SELECT {setting} AS current_setting) = '*'::text)"
    parts = f"(string_to_array(NULLIF(NULLIF({setting}, ''::text), '*'::text), ','::text))::uuid[]"
    listed = f"({column} = ANY (( SELECT {parts} AS string_to_array)::uuid[]))"
    return f"({every} OR {listed})"


async def _functions(connection: Raw) -> AsyncIterator[str]:
    """Functions with more rights than their caller: those of functions.sql, as they stand there, and no other."""
    database = await connection.fetchval("select current_database()")
    rows = await connection.fetch("""
        select p.proname, p.prosrc, p.proconfig, p.proargnames, pg_get_userbyid(p.proowner) as owner
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where p.prosecdef and n.nspname not in ('pg_catalog', 'information_schema')
    """)
    written = {function.name: function for function in schema.functions()}
    present = Counter(row["proname"] for row in rows)
    for name in sorted(written):
        if present[name] != 1:
            yield f"the definer function {name} exists {present[name]} times"
    for row in rows:
        for fault in _faults(row, written.get(row["proname"]), database):
            yield f"the definer function {row['proname']} {fault}"


def _faults(row: asyncpg.Record, function: schema.Function | None, database: str) -> Iterator[str]:
    if function is None:
        yield "stands in no list"
        return
    if row["prosrc"] != function.sql.split("$$")[1]:
        yield "is not what functions.sql says"
    if row["owner"] != f"{database}_{function.owner}":
        yield f"belongs to {row['owner']}"
    header = function.sql.split("$$")[0].partition("security definer ")[2]
    settings = [f"{name}={value}" for name, value in re.findall(r"set (\w+) = (.+?)\s(?=set|as)", header)]
    if not re.fullmatch(r"search_path=.+, pg_temp", settings[0]) or row["proconfig"] != settings:
        yield "has no fixed search_path"
    if any("tenant" in argument for argument in _arguments(function.sql)):
        yield "takes a tenant"


def _arguments(sql: str) -> list[str]:
    """Of the function itself, not of the table that it returns."""
    inside = sql.split("(", 1)[1].split(")\nreturns", 1)[0]
    return [argument.split()[0] for argument in inside.split(",") if argument.strip()]


async def _grants(connection: Raw) -> AsyncIterator[str]:
    """What the serving role and the owners of the definer functions may touch: the least that they need."""
    app, definers = await _roles(connection)
    lists = {**DEFINERS_MAY, "jobs": _with_destroying(DEFINERS_MAY["jobs"]), "app": SERVING_MAY}
    for name, may in lists.items():
        held = await _rights(connection, app if name == "app" else definers[name])
        for table in sorted(held.keys() | may.keys()):
            if held.get(table) != may.get(table):
                yield f"the role {name} holds {held.get(table)} on {table}"


def _with_destroying(may: Mapping[str, str]) -> dict[str, str]:
    """What goes with its tenant may be deleted too, and found by its tenant and its place."""
    merged = dict(may)
    for table, more in DESTROYED.items():
        held = dict(re.findall(r"([A-Z]+)(?:\(([^)]*)\))?", may.get(table, "")))
        columns = {"ctid", "tenant_id", *more}
        whole = sorted({"DELETE", *(kind for kind, named in held.items() if not named)})
        parts = {kind: set(named.split(", ")) for kind, named in held.items() if named}
        parts["SELECT"] = parts.get("SELECT", set()) | columns
        merged[table] = " ".join([*whole, *(f"{kind}({', '.join(sorted(parts[kind]))})" for kind in sorted(parts))])
    return merged


async def _rights(connection: Raw, role: str) -> dict[str, str]:
    """Rights on tables and, in brackets, on columns alone, written in one order."""
    tables = await connection.fetch(
        f"select c.relname, string_agg(a.privilege_type, ' ' order by a.privilege_type) from {_TABLES},"
        f" aclexplode(c.relacl) a where {_OURS} and a.grantee = $1::text::regrole group by 1",
        role,
    )
    columns = await connection.fetch(
        f"""
        select relname, string_agg(kind || '(' || names || ')', ' ' order by kind) from (
            select c.relname, x.privilege_type as kind, string_agg(a.attname, ', ' order by a.attname) as names
            from {_TABLES} join pg_attribute a on a.attrelid = c.oid, aclexplode(a.attacl) x
            where {_OURS} and x.grantee = $1::text::regrole group by 1, 2) k
        group by 1""",
        role,
    )
    found: dict[str, list[str]] = defaultdict(list)
    for table, rights in (*map(tuple, tables), *map(tuple, columns)):
        found[table].append(rights)
    return {table: " ".join(rights) for table, rights in found.items()}


def _array(names: Iterable[str]) -> str:
    return "array[" + ", ".join(f"'{name}'" for name in names) + "]"
