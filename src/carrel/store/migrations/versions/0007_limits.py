"""Quotas and usage."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# One row for each tenant, so that whatever counts takes one lock: what it may have, what it has, and what is held by
# work under way. A reservation is a lease: what it holds is given back when it ends or expires.
LIMITS = """
create table quotas (
    tenant_id uuid primary key references tenants (id),
    rates jsonb not null default '{}',
    documents_soft bigint,
    documents_hard bigint,
    bytes_soft bigint,
    bytes_hard bigint,
    questions_soft bigint,
    questions_hard bigint,
    tokens_soft bigint,
    tokens_hard bigint,
    month date not null default date_trunc('month', now() at time zone 'utc')::date,
    documents_used bigint not null default 0,
    bytes_used bigint not null default 0,
    questions_used bigint not null default 0,
    tokens_used bigint not null default 0,
    bytes_held bigint not null default 0,
    questions_held bigint not null default 0,
    tokens_held bigint not null default 0
);

create table reservations (
    tenant_id uuid not null references tenants (id),
    id uuid not null,
    month date not null,
    bytes bigint not null,
    questions bigint not null,
    tokens bigint not null,
    expires_at timestamptz not null,
    primary key (tenant_id, id)
);

create table usage_days (
    tenant_id uuid not null references tenants (id),
    day date not null,
    kind text not null check (kind in ('question', 'document')),
    bot_id uuid,
    events bigint not null,
    bytes bigint not null,
    input_tokens bigint not null,
    output_tokens bigint not null,
    unique nulls not distinct (tenant_id, day, kind, bot_id)
);

alter table idempotency_keys add column source_ids uuid[] not null default '{}';
alter table idempotency_keys add column holder uuid;
alter table idempotency_keys add column held_until timestamptz
"""

RESOURCES = ("documents", "bytes", "questions", "tokens")
HELD = ("bytes", "questions", "tokens")
WRITTEN = ", ".join(
    [
        "rates, month",
        *(f"{name}_{what}" for name in RESOURCES for what in ("soft", "hard", "used")),
        *(f"{name}_held" for name in HELD),
    ]
)
TENANT_TABLES = {
    "quotas": f"select, insert, update ({WRITTEN})",
    "reservations": "select, insert, update (bytes, expires_at), delete",
    "usage_days": "select, insert, update (events, bytes, input_tokens, output_tokens)",
}

TENANT = "nullif(current_setting('carrel.tenant', true), '')::uuid"


def upgrade() -> None:
    database = op.get_bind().exec_driver_sql("select current_database()").scalar_one()
    app, jobs = f"{database}_app", f"{database}_jobs"
    script(LIMITS)
    for table, rights in TENANT_TABLES.items():
        script(f"alter table {table} enable row level security;\nalter table {table} force row level security")
        script(f"grant {rights} on {table} to {app}")
        script(
            f"create policy tenant on {table} to {app} using (tenant_id = {TENANT}) with check (tenant_id = {TENANT})"
        )
    script(f"grant update (holder, held_until, source_ids) on idempotency_keys to {app}")
    script(
        # counting what there is sees private documents too
        f"grant select (tenant_id, size) on document_versions to {jobs};\n"
        f"grant select (tenant_id, id, deleted_at) on documents to {jobs};\n"
        f"create policy definer_jobs on documents for select to {jobs} using (true)"
    )


def script(sql: str) -> None:
    for statement in sql.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)
