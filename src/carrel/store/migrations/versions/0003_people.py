"""People: accounts, memberships, invitations, sign-ins; keys belong to whoever made them; the audit log."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Accounts are the platform's: one person may be a member of several tenants. An address is kept in one form only.
ACCOUNTS = """
create table users (
    id uuid primary key,
    email text not null unique check (email = lower(email)),
    name text not null,
    status text not null default 'active' check (status in ('active', 'suspended')),
    verified_at timestamptz,
    epoch integer not null default 0,
    created_at timestamptz not null default now()
);

create table passwords (
    user_id uuid primary key references users (id) on delete cascade,
    hash text not null,
    changed_at timestamptz not null default now()
);

create table identities (
    issuer text not null,
    subject text not null,
    user_id uuid not null references users (id) on delete cascade,
    created_at timestamptz not null default now(),
    primary key (issuer, subject)
);
create index identities_by_user on identities (user_id);

create table sessions (
    id uuid primary key,
    user_id uuid not null references users (id) on delete cascade,
    chosen_tenant uuid,
    epoch integer not null,
    client text not null default '',
    created_at timestamptz not null default now(),
    last_used_at timestamptz not null default now(),
    expires_at timestamptz not null,
    ended_at timestamptz
);
create index sessions_by_user on sessions (user_id, created_at desc);

create table refresh_tokens (
    hash bytea primary key,
    session_id uuid not null references sessions (id) on delete cascade,
    created_at timestamptz not null default now(),
    replaced_at timestamptz
);
create index refresh_tokens_by_session on refresh_tokens (session_id);

create table email_codes (
    id uuid primary key,
    user_id uuid not null references users (id) on delete cascade,
    purpose text not null check (purpose in ('verify', 'reset')),
    mac bytea not null,
    attempts integer not null default 0,
    expires_at timestamptz not null,
    used_at timestamptz,
    created_at timestamptz not null default now()
);
create index email_codes_newest_first on email_codes (user_id, purpose, created_at desc)
"""

MEMBERS = """
create table memberships (
    tenant_id uuid not null references tenants (id),
    user_id uuid not null,
    role text not null check (role in ('owner', 'admin', 'editor', 'viewer')),
    status text not null default 'active' check (status in ('active', 'suspended')),
    issuer text,
    created_at timestamptz not null default now(),
    primary key (tenant_id, user_id)
);
create index memberships_by_user on memberships (user_id);
create index memberships_newest_first on memberships (tenant_id, created_at desc, user_id desc);

create table invitations (
    tenant_id uuid not null references tenants (id),
    id uuid not null,
    email text not null,
    role text not null check (role in ('owner', 'admin', 'editor', 'viewer')),
    mac bytea not null,
    invited_by uuid,
    expires_at timestamptz not null,
    accepted_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id)
);
create index invitations_by_id on invitations (id);

alter table api_keys add column made_by uuid;

create table audit_events (
    tenant_id uuid not null references tenants (id),
    id uuid not null,
    actor_id uuid,
    credential_id uuid,
    action text not null,
    object_id uuid,
    result text not null check (result in ('done', 'refused')),
    request_id text,
    facts jsonb not null default '{}',
    created_at timestamptz not null default now(),
    primary key (tenant_id, id)
);
create index audit_events_newest_first on audit_events (tenant_id, created_at desc, id desc)
"""

ACCOUNT_TABLES = {
    "users": "select, insert, update (name, status, verified_at, epoch)",
    "passwords": "select, insert, update (hash, changed_at)",
    "identities": "select, insert, delete",
    "sessions": "select, insert, update (chosen_tenant, last_used_at, ended_at, expires_at), delete",
    "refresh_tokens": "select, insert, update (replaced_at), delete",
    "email_codes": "select, insert, update (attempts, used_at), delete",
}
TENANT_TABLES = {
    "memberships": "select, insert, update (role, status, issuer), delete",
    "invitations": "select, insert, update (accepted_at, revoked_at)",
    "audit_events": "select, insert",
}

TENANT = "nullif(current_setting('carrel.tenant', true), '')::uuid"
ACCOUNTS_ON = "current_setting('carrel.accounts', true) = 'on'"


def upgrade() -> None:
    database = op.get_bind().exec_driver_sql("select current_database()").scalar_one()
    app, auth = f"{database}_app", f"{database}_auth"
    script(ACCOUNTS)
    script(MEMBERS)
    for table, rights in {**ACCOUNT_TABLES, **TENANT_TABLES}.items():
        script(f"alter table {table} enable row level security;\nalter table {table} force row level security")
        script(f"grant {rights} on {table} to {app}")
    for table in ACCOUNT_TABLES:
        script(f"create policy accounts on {table} to {app} using ({ACCOUNTS_ON}) with check ({ACCOUNTS_ON})")
    for table in TENANT_TABLES:
        script(
            f"create policy tenant on {table} to {app} using (tenant_id = {TENANT}) with check (tenant_id = {TENANT})"
        )
    script(
        # whoever registers makes an organisation of their own, and a member sees who the other members are
        f"create policy register on tenants for insert to {app} with check ({ACCOUNTS_ON} and id = {TENANT});\n"
        f"create policy fellow on users for select to {app} using (exists (select from memberships m"
        f" where m.tenant_id = {TENANT} and m.user_id = users.id));\n"
        f"grant select (made_by) on api_keys to {auth};\n"
        f"grant select (tenant_id, user_id, role, status, issuer) on memberships to {auth};\n"
        f"grant select (id, status, verified_at, epoch) on users to {auth};\n"
        f"grant select (id, user_id, chosen_tenant, epoch, expires_at, ended_at) on sessions to {auth};\n"
        f"grant select (tenant_id, id, email, role, mac, expires_at, accepted_at, revoked_at) on invitations"
        f" to {auth};\n"
        f"grant select (issuer, subject, user_id) on identities to {auth};\n"
        f"grant select (slug, name) on tenants to {auth}"
    )
    for table in ("memberships", "users", "sessions", "invitations", "identities"):
        script(f"create policy definer_auth on {table} for select to {auth} using (true)")


def script(sql: str) -> None:
    for statement in sql.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)
