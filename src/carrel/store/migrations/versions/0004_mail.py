"""Mail that waits to be sent, and registrations whose address is not yet verified."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = """
create table mails (
    id uuid primary key,
    kind text not null,
    subject_id uuid not null,
    for_tenant uuid,
    attempts integer not null default 0,
    due_at timestamptz not null default now(),
    created_at timestamptz not null default now()
);
create index mails_by_due on mails (due_at);

create table registrations (
    email text primary key check (email = lower(email)),
    user_id uuid not null unique,
    name text not null,
    organisation text not null,
    hash text,
    expires_at timestamptz not null
);
create index registrations_by_end on registrations (expires_at)
"""

RIGHTS = {
    "mails": "select, insert, update (attempts, due_at), delete",
    "registrations": "select, insert, update (name, organisation, hash, expires_at), delete",
}

TENANT = "nullif(current_setting('carrel.tenant', true), '')::uuid"
ACCOUNTS_ON = "current_setting('carrel.accounts', true) = 'on'"


def upgrade() -> None:
    database = op.get_bind().exec_driver_sql("select current_database()").scalar_one()
    app = f"{database}_app"
    script(TABLES)
    for table, rights in RIGHTS.items():
        script(f"alter table {table} enable row level security;\nalter table {table} force row level security")
        script(f"grant {rights} on {table} to {app}")
        script(f"create policy accounts on {table} to {app} using ({ACCOUNTS_ON}) with check ({ACCOUNTS_ON})")
    script(
        # a tenant's transaction puts its own mail there and sees none
        f"create policy post on mails for insert to {app} with check (for_tenant = {TENANT});\n"
        # a code may belong to somebody who is no user yet, or to nobody: then all takes as long, and nothing is sent
        "alter table email_codes drop constraint email_codes_user_id_fkey;\n"
        # a session may live on in a new epoch
        f"grant update (epoch) on sessions to {app}"
    )


def script(sql: str) -> None:
    for statement in sql.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)
