"""Logins at other issuers, and what their groups grant."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Ownership is no group's to give: whoever changes groups elsewhere could leave an organisation without an owner.
GROUPS = """
create table group_grants (
    id uuid primary key,
    issuer text not null,
    group_name text not null,
    for_tenant uuid not null references tenants (id) on delete cascade,
    role text not null check (role in ('admin', 'editor', 'viewer')),
    created_at timestamptz not null default now(),
    unique (issuer, group_name, for_tenant)
);
create index group_grants_newest_first on group_grants (created_at desc, id desc);
create index group_grants_by_tenant on group_grants (for_tenant);

alter table identities add column email text;
alter table identities add column claimed_at timestamptz not null default '-infinity'
"""

ACCOUNTS_ON = "current_setting('carrel.accounts', true) = 'on'"


def upgrade() -> None:
    database = op.get_bind().exec_driver_sql("select current_database()").scalar_one()
    app, auth = f"{database}_app", f"{database}_auth"
    script(GROUPS)
    script(
        "alter table group_grants enable row level security;\n"
        "alter table group_grants force row level security;\n"
        f"grant select, insert, delete on group_grants to {app};\n"
        f"create policy accounts on group_grants to {app} using ({ACCOUNTS_ON}) with check ({ACCOUNTS_ON});\n"
        f"grant select (issuer, group_name, for_tenant, role) on group_grants to {auth};\n"
        f"create policy definer_auth on group_grants for select to {auth} using (true);\n"
        f"grant update (email, claimed_at) on identities to {app};\n"
        f"grant select (claimed_at) on identities to {auth}"
    )


def script(sql: str) -> None:
    for statement in sql.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)
