"""Dedicated tenants: which layout a tenant's entries have, and a schema for the tables of their own."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# A tenant without a row is pooled. `leaving`: pooled again, its own tables still there for searches that began before.
LAYOUTS = """
create table layouts (
    tenant_id uuid primary key references tenants (id),
    state text not null check (state in ('filling', 'promoting', 'dedicated', 'demoting', 'leaving')),
    changed_at timestamptz not null default now()
);
alter table layouts enable row level security;
alter table layouts force row level security;
alter table tenants add column isolation_asked text check (isolation_asked in ('pooled', 'dedicated'));
create index documents_by_twin on documents (tenant_id, same_as) where same_as is not null;
create schema carrel_own
"""

# These run with their caller's rights. PostgreSQL has no operator that gives the indices of a sparse vector, and GIN
# wants them as an array; the body is parsed here once, so no search_path of a later caller changes what it means.
HELPERS = """
create function own_table(kind text, tenant uuid) returns text
language sql immutable strict parallel safe
return format('carrel_own.%I', kind || '_' || replace(tenant::text, '-', ''));
create function term_ids(terms sparsevec) returns integer[]
language sql immutable strict parallel safe
return regexp_replace(split_part(terms::text, '/', 1), ':[^,}]+', '', 'g')::integer[];
revoke all on function own_table(text, uuid), term_ids(sparsevec) from public
"""


def upgrade() -> None:
    database = op.get_bind().exec_driver_sql("select current_database()").scalar_one()
    index = f"{database}_index"
    script(LAYOUTS)
    script(HELPERS)
    script(
        f"grant select, insert, update, delete on layouts to {index};\n"
        f"create policy definer_index on layouts to {index} using (true) with check (true);\n"
        f"grant select (id, isolation, isolation_asked), update (isolation) on tenants to {index};\n"
        f"create policy definer_index on tenants to {index} using (true) with check (true);\n"
        f"grant execute on function own_table(text, uuid), term_ids(sparsevec) to {index};\n"
        f"grant usage, create on schema carrel_own to {index}"
    )


def script(sql: str) -> None:
    for statement in sql.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)
