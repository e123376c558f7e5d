"""Sources that refresh themselves: where their documents come from, what was seen there, and each run."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# An item is a thing that was seen at the source's place. Its revision grows with each change, so that of two who look
# at it at the same time the slower one looks again. Nothing is indexed by the run: marking what was seen stays cheap.
TABLES = """
alter table sources add column place jsonb;
alter table sources add column schedule integer check (schedule >= 60);
alter table sources add column paused_at timestamptz;
alter table sources add column accepts_empty boolean not null default false;

create table source_items (
    tenant_id uuid not null references tenants (id),
    id uuid not null,
    source_id uuid not null,
    owner_id uuid,
    key text not null,
    document_id uuid,
    tag text,
    fingerprint bytea,
    seen_in uuid,
    revision bigint not null default 1,
    failure_code text,
    failure_detail text,
    changed_at timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, source_id) references sources (tenant_id, id)
) with (fillfactor = 80);
create index source_items_newest_first on source_items (tenant_id, source_id, changed_at desc, id desc);
create index source_items_by_document on source_items (tenant_id, document_id);

create table source_runs (
    tenant_id uuid not null references tenants (id),
    id uuid not null,
    source_id uuid not null,
    owner_id uuid,
    state text not null check (state in ('running', 'done', 'partial', 'failed')),
    started_at timestamptz not null default now(),
    ended_at timestamptz,
    found bigint not null default 0,
    created bigint not null default 0,
    replaced bigint not null default 0,
    unchanged bigint not null default 0,
    deleted bigint not null default 0,
    failed bigint not null default 0,
    problem_code text,
    problem_detail text,
    primary key (tenant_id, id),
    foreign key (tenant_id, source_id) references sources (tenant_id, id)
);
create index source_runs_newest_first on source_runs (tenant_id, source_id, started_at desc, id desc)
"""

TENANT_TABLES = {
    "source_items": "select, insert, update (tag, fingerprint, seen_in, revision, failure_code,"
    " failure_detail, changed_at), delete",
    "source_runs": "select, insert, update (state, ended_at, found, created, replaced, unchanged, deleted, failed,"
    " problem_code, problem_detail), delete",
}

TENANT = "nullif(current_setting('carrel.tenant', true), '')::uuid"
USER = "nullif(current_setting('carrel.user', true), '')::uuid"
SOURCES = "current_setting('carrel.sources', true)"
DOOMED = f"(select exists (select from tenants t where t.id = {TENANT} and t.status = 'deleting'))"
ALLOWED = (
    f"((select {SOURCES}) = '*' or source_id = any"
    f" ((select string_to_array(nullif(nullif({SOURCES}, ''), '*'), ',')::uuid[])::uuid[]))"
)


def upgrade() -> None:
    database = op.get_bind().exec_driver_sql("select current_database()").scalar_one()
    app, jobs = f"{database}_app", f"{database}_jobs"
    script(TABLES)
    for table, rights in TENANT_TABLES.items():
        script(
            f"alter table {table} enable row level security;\n"
            f"alter table {table} force row level security;\n"
            f"grant {rights} on {table} to {app};\n"
            f"create policy tenant on {table} to {app}"
            f" using (tenant_id = {TENANT}) with check (tenant_id = {TENANT});\n"
            f"create policy owner on {table} as restrictive to {app}"
            f" using (owner_id is null or owner_id = (select {USER}))"
            f" with check (owner_id is null or owner_id = (select {USER}));\n"
            f"create policy source on {table} as restrictive to {app} using {ALLOWED} with check {ALLOWED};\n"
            f"grant select (tenant_id, ctid), delete on {table} to {jobs};\n"
            f"create policy destroy on {table} to {jobs} using (tenant_id = {TENANT} and {DOOMED})"
        )
    script(
        f"grant update (place, schedule, paused_at, accepts_empty) on sources to {app};\n"
        # which places tell of changes, and which schedules were lost, is asked for all tenants at once
        f"grant select (tenant_id, id, owner_id, kind, place, schedule, paused_at, deleted_at) on sources to {jobs};\n"
        f"create policy definer_jobs on sources for select to {jobs} using (true)"
    )


def script(sql: str) -> None:
    for statement in sql.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)
