"""The leave to find nothing is one run's; private sources have owners who may have them; webhooks have periods."""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# A period of a webhook ends when it is switched off: what was announced before will not be told, not even when it is
# switched on again. One that was removed is a bare row until what was told to it has gone.
PERIODS = """
alter table webhooks add column if not exists period integer not null default 0;
alter table webhooks add column if not exists deleted_at timestamptz;
alter table deliveries add column if not exists period integer not null default 0;
create index if not exists deliveries_of_periods on deliveries (tenant_id, webhook_id, period, due_at)
    where state = 'waiting'
"""
LEAVE = "alter table source_runs add column if not exists accepts_empty boolean not null default false"


# A source of the whole tenant stands always; a private one while its owner could make it now: a member by role (with a
# credential in its place, one who keeps credentials), a key that nobody made by its being alive, and the machine's own
# terminal. It runs with the rights of whoever asks: who sees less than that is told less than yes.
STANDS = """
create or replace function source_stands(of_tenant uuid, of_source uuid) returns boolean
language sql stable set search_path = carrel, pg_temp as $$
    select s.deleted_at is not null or s.owner_id is null or s.owner_id = 'c0450c0e-0000-4000-8000-000000000000'
        or exists (select from memberships m join users u on u.id = m.user_id
                   where m.tenant_id = s.tenant_id and m.user_id = s.owner_id and m.status = 'active'
                     and u.status = 'active' and (m.role in ('owner', 'admin')
                          or (m.role = 'editor' and s.place ->> 'credential_id' is null)))
        or exists (select from api_keys k
                   where k.tenant_id = s.tenant_id and k.id = s.owner_id and k.revoked_at is null
                     and (k.expires_at is null or k.expires_at > now()) and 'manage' = any (k.scopes))
    from sources s where s.tenant_id = of_tenant and s.id = of_source
$$
"""


def upgrade() -> None:
    database = op.get_bind().exec_driver_sql("select current_database()").scalar_one()
    app, jobs = f"{database}_app", f"{database}_jobs"
    script(
        f"{LEAVE};\n"
        # the leave goes from the source to the run that was asked for, and back where that one goes on as another
        f"grant update (accepts_empty) on source_runs to {app};\n"
        f"{STANDS};\n"
        f"revoke all on function source_stands(uuid, uuid) from public;\n"
        f"grant execute on function source_stands(uuid, uuid) to {app}, {jobs};\n"
        # what is claimed and listened to is asked for all tenants at once
        f"grant select (tenant_id, user_id, role, status) on memberships to {jobs};\n"
        f"grant select (id, status) on users to {jobs};\n"
        f"grant select (tenant_id, id, scopes, expires_at, revoked_at) on api_keys to {jobs};\n"
        f"{PERIODS};\n"
        f"grant update (period, deleted_at) on webhooks to {app};\n"
        f"grant update (period) on deliveries to {app};\n"
        f"grant select (period) on webhooks to {jobs};\n"
        f"grant select (period) on deliveries to {jobs}"
    )
    for table in ("memberships", "users", "api_keys"):
        script(f"drop policy if exists definer_jobs on {table}")
        script(f"create policy definer_jobs on {table} for select to {jobs} using (true)")


def script(sql: str) -> None:
    for statement in sql.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)
