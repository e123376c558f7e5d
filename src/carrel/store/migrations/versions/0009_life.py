"""The life of a tenant: suspended, exported, deleted and destroyed, with a receipt that outlives it."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# A slug is free again as soon as its tenant is given up. The receipt is the platform's: its tenant is gone.
RECEIPTS = """
alter table tenants drop constraint tenants_slug_key;
create unique index tenants_by_slug on tenants (slug) where status <> 'deleting';

create table tenant_receipts (
    id uuid primary key,
    requested_by uuid,
    credential_id uuid,
    requested_at timestamptz not null default now(),
    destroyed jsonb not null default '{}',
    completed_at timestamptz
);
create index tenant_receipts_by_end on tenant_receipts (completed_at);
alter table tenant_receipts enable row level security;
alter table tenant_receipts force row level security
"""

TENANT = "nullif(current_setting('carrel.tenant', true), '')::uuid"
PLATFORM = "current_setting('carrel.platform', true) = 'on'"
DOOMED = f"(select exists (select from tenants t where t.id = {TENANT} and t.status = 'deleting'))"

# Those of the index belong to its own role, which may delete there already.
OF_THE_INDEX = ("layouts", "lexical_entries", "lexical_profiles", "lexical_stats", "dense_entries_384")
MORE_TO_FIND = {
    "documents": "id",
    "document_versions": "document_id",
    "sources": "owner_id",
    "chats": "owner_id",
}


def upgrade() -> None:
    database = op.get_bind().exec_driver_sql("select current_database()").scalar_one()
    app, index, jobs = (f"{database}_{name}" for name in ("app", "index", "jobs"))
    script(RECEIPTS)
    script(
        f"grant select on tenant_receipts to {app};\n"
        f"create policy platform on tenant_receipts to {app} using ({PLATFORM}) with check ({PLATFORM});\n"
        f"grant select, insert, update (requested_by, credential_id, requested_at, destroyed, completed_at)"
        f" on tenant_receipts to {jobs};\n"
        f"create policy definer_jobs on tenant_receipts to {jobs} using (true) with check (true);\n"
        f"grant select (id, status), update (name, status), delete on tenants to {jobs};\n"
        f"drop policy if exists definer_jobs on tenants;\n"
        f"create policy definer_jobs on tenants to {jobs} using (true) with check (true);\n"
        f"grant select (status) on tenants to {index}"
    )
    for table in tenant_tables():
        columns = ", ".join(("tenant_id", "ctid", *filter(None, [MORE_TO_FIND.get(table)])))
        script(
            f"grant select ({columns}), delete on {table} to {jobs};\n"
            f"create policy destroy on {table} to {jobs} using (tenant_id = {TENANT} and {DOOMED})"
        )
    for table in ("sources", "chats"):
        script(f"create policy owners on {table} for select to {jobs} using (tenant_id = {TENANT})")


def tenant_tables() -> list[str]:
    rows = op.get_bind().exec_driver_sql(
        "select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'"
        " where c.relnamespace = 'carrel'::regnamespace and c.relkind = 'r' and not c.relispartition order by 1"
    )
    return [name for (name,) in rows.all() if name not in OF_THE_INDEX]


def script(sql: str) -> None:
    for statement in sql.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)
