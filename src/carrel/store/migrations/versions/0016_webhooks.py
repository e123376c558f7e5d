"""Webhooks and what is on its way to them; how far the work on a version is."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# A delivery holds ids and codes, never a text: what it says is put together when it is sent.
TABLES = """
create table webhooks (
    tenant_id uuid not null references tenants (id),
    id uuid not null,
    url text not null,
    events text[] not null,
    source_ids uuid[],
    description text not null default '',
    enabled boolean not null default true,
    disabled_reason text check (disabled_reason in ('gone', 'failing')),
    failing_since timestamptz,
    slow boolean not null default false,
    ciphertext bytea not null,
    nonce bytea not null,
    key_version integer not null,
    former_ciphertext bytea,
    former_nonce bytea,
    former_key_version integer,
    former_until timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id)
);
create index webhooks_newest_first on webhooks (tenant_id, created_at desc, id desc);

create table deliveries (
    tenant_id uuid not null,
    id uuid not null,
    webhook_id uuid not null,
    event text not null,
    data jsonb not null,
    state text not null default 'waiting' check (state in ('waiting', 'delivered', 'failed')),
    attempts integer not null default 0,
    due_at timestamptz not null default now(),
    leased_until timestamptz,
    lease_epoch bigint not null default 0,
    response_code integer,
    problem text,
    milliseconds integer,
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    primary key (tenant_id, id),
    foreign key (tenant_id, webhook_id) references webhooks (tenant_id, id) on delete cascade
);
create index deliveries_newest_first on deliveries (tenant_id, webhook_id, created_at desc, id desc);
create index deliveries_waiting on deliveries (tenant_id, webhook_id, due_at) where state = 'waiting';
create index deliveries_in_flight on deliveries (tenant_id, webhook_id, leased_until) where leased_until is not null;
create index deliveries_by_age on deliveries (tenant_id, created_at);

alter table document_versions add column progress smallint not null default 0 check (progress between 0 and 100)
"""

TENANT = "nullif(current_setting('carrel.tenant', true), '')::uuid"
OF_TENANT = f"tenant_id = {TENANT}"
DOOMED = f"(select exists (select from tenants t where t.id = {TENANT} and t.status = 'deleting'))"

NEW = {
    "webhooks": "select, insert, delete, update (url, events, description, enabled, disabled_reason, failing_since,"
    " slow, ciphertext, nonce, key_version, former_ciphertext, former_nonce, former_key_version, former_until,"
    " updated_at)",
    "deliveries": "select, insert, delete, update (state, attempts, due_at, leased_until, lease_epoch, response_code,"
    " problem, milliseconds, finished_at)",
}


def upgrade() -> None:
    database = op.get_bind().exec_driver_sql("select current_database()").scalar_one()
    app, jobs = f"{database}_app", f"{database}_jobs"
    script(TABLES)
    for table, rights in NEW.items():
        script(
            f"alter table {table} enable row level security;\n"
            f"alter table {table} force row level security;\n"
            f"grant {rights} on {table} to {app};\n"
            f"create policy tenant on {table} to {app} using ({OF_TENANT}) with check ({OF_TENANT});\n"
            f"grant select (tenant_id, ctid), delete on {table} to {jobs};\n"
            f"create policy destroy on {table} to {jobs} using (tenant_id = {TENANT} and {DOOMED})"
        )
    script(f"grant update (progress) on document_versions to {app}")
    # which webhooks have something due is asked for all tenants at once
    script(
        f"grant select (id, enabled, failing_since, slow) on webhooks to {jobs};\n"
        f"create policy definer_jobs on webhooks for select to {jobs} using (true);\n"
        f"grant select (id, webhook_id, state, attempts, due_at, leased_until, lease_epoch),"
        f" update (attempts, leased_until, lease_epoch) on deliveries to {jobs};\n"
        f"create policy definer_jobs on deliveries to {jobs} using (true) with check (true)"
    )


def script(sql: str) -> None:
    for statement in sql.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)
