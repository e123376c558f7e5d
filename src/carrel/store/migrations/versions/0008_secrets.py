"""Provider credentials, tenants' own keys, and the seals of the audit log."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# No foreign key from a credential to the data key that encrypts it: destroying the keys shreds what they encrypted, and
# needs to wait for nothing else.
TABLES = """
create table tenant_keys (
    tenant_id uuid not null references tenants (id),
    version integer not null,
    master_id text not null,
    nonce bytea not null,
    wrapped bytea not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, version)
);

create table provider_credentials (
    tenant_id uuid not null references tenants (id),
    id uuid not null,
    name text not null,
    provider text not null,
    base_url text,
    ciphertext bytea not null,
    nonce bytea not null,
    key_version integer not null,
    last_four text not null,
    created_at timestamptz not null default now(),
    rotated_at timestamptz not null default now(),
    primary key (tenant_id, id),
    constraint provider_credentials_by_name unique (tenant_id, name)
);
create index provider_credentials_newest_first on provider_credentials (tenant_id, created_at desc, id desc);

alter table bots add column credential_id uuid;
alter table bots add foreign key (tenant_id, credential_id) references provider_credentials (tenant_id, id)
    on delete set null (credential_id);
create index bots_by_credential on bots (tenant_id, credential_id) where credential_id is not null;

create table audit_seals (
    tenant_id uuid not null references tenants (id),
    position bigint not null,
    event_id uuid not null,
    event_at timestamptz not null,
    hash bytea not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, position),
    constraint audit_seals_by_event unique (tenant_id, event_id)
)
"""

TENANT_TABLES = {
    "tenant_keys": "select, insert, update (master_id, nonce, wrapped), delete",
    "provider_credentials": "select, insert,"
    " update (name, base_url, ciphertext, nonce, key_version, last_four, rotated_at), delete",
    "audit_seals": "select, insert",
}

TENANT = "nullif(current_setting('carrel.tenant', true), '')::uuid"


def upgrade() -> None:
    database = op.get_bind().exec_driver_sql("select current_database()").scalar_one()
    app, jobs = f"{database}_app", f"{database}_jobs"
    script(TABLES)
    for table, rights in TENANT_TABLES.items():
        script(f"alter table {table} enable row level security;\nalter table {table} force row level security")
        script(f"grant {rights} on {table} to {app}")
        script(
            f"create policy tenant on {table} to {app} using (tenant_id = {TENANT}) with check (tenant_id = {TENANT})"
        )
    script(
        f"grant update (credential_id) on bots to {app};\n"
        # which tenants have something to seal is asked for all of them at once
        f"grant select (tenant_id, id, created_at) on audit_events to {jobs};\n"
        f"grant select (tenant_id, position, event_id, event_at) on audit_seals to {jobs};\n"
        f"create policy definer_jobs on audit_events for select to {jobs} using (true);\n"
        f"create policy definer_jobs on audit_seals for select to {jobs} using (true)"
    )


def script(sql: str) -> None:
    for statement in sql.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)
