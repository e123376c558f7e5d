"""Conversations: titles, end users, feedback, retention, and what each member's answers cost."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# An end user is never the empty word, which stands for nobody. What documents say is kept as references: a citation
# whose number is below 1 is a document that a refusal names in its guidance.
TABLES = """
alter table chats add column title text not null default '';
alter table chats add column updated_at timestamptz not null default now();
alter table chats add constraint chats_end_user_check check (end_user <> '');

alter table messages add column end_user text check (end_user <> '');
alter table messages add column problem_code text;
alter table messages add column problem_detail text;
alter table messages add column guidance text[] not null default '{}';
alter table messages add column asked text;
alter table messages add column grounding double precision;
alter table messages add column unsupported text[] not null default '{}';

create table feedback (
    tenant_id uuid not null,
    message_id uuid not null,
    owner_id uuid not null,
    end_user text check (end_user <> ''),
    bot_id uuid,
    rating text not null check (rating in ('up', 'down')),
    reason text not null default '',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, message_id),
    foreign key (tenant_id, message_id) references messages (tenant_id, id) on delete cascade
);

create table retentions (
    tenant_id uuid primary key references tenants (id),
    chat_days integer not null check (chat_days >= 1)
);

alter table usage_days add column user_id uuid;
alter table usage_days add column model text;
alter table usage_days add column cost numeric;
alter table usage_days add column unpriced bigint not null default 0;
alter table usage_days drop constraint usage_days_tenant_id_day_kind_bot_id_key;
alter table usage_days add constraint usage_days_one_line
    unique nulls not distinct (tenant_id, day, kind, bot_id, user_id, model)
"""

# The owner of the tables sees no row of them while row-level security is forced.
FILL = """
alter table chats no force row level security;
alter table messages no force row level security;
alter table usage_days no force row level security;
update chats c set
    updated_at = coalesce((select max(m.created_at) from messages m
                           where m.tenant_id = c.tenant_id and m.chat_id = c.id), c.created_at),
    title = coalesce((select left(btrim(regexp_replace(m.question, '[[:space:][:cntrl:]]+', ' ', 'g')), 80)
                      from messages m where m.tenant_id = c.tenant_id and m.chat_id = c.id
                      order by m.id limit 1), '');
update messages m set end_user = c.end_user from chats c
where c.tenant_id = m.tenant_id and c.id = m.chat_id and c.end_user is not null;
update usage_days set unpriced = events where kind = 'question';
alter table chats force row level security;
alter table messages force row level security;
alter table usage_days force row level security;
create index chats_newest_first on chats (tenant_id, owner_id, (coalesce(end_user, '')), updated_at desc, id desc);
create index chats_by_age on chats (tenant_id, updated_at)
"""

TENANT = "nullif(current_setting('carrel.tenant', true), '')::uuid"
OF_TENANT = f"tenant_id = {TENANT}"
USER = "nullif(current_setting('carrel.user', true), '')::uuid"
END_USER = "coalesce(current_setting('carrel.end_user', true), '')"
DOOMED = f"(select exists (select from tenants t where t.id = {TENANT} and t.status = 'deleting'))"
OWNED = f"owner_id is null or owner_id = (select {USER})"
# Compared as bytes in hexadecimal, so that no name is taken for `*`, which is every end user.
OF_END_USER = (
    f"((select {END_USER}) = '*' or coalesce(encode(convert_to(end_user, 'UTF8'), 'hex'), '') = (select {END_USER}))"
)
OF_A_MESSAGE = "exists (select from messages m where m.tenant_id = citations.tenant_id and m.id = citations.message_id)"

NEW = {
    "feedback": "select, insert, update (rating, reason, updated_at), delete",
    "retentions": "select, insert, update (chat_days), delete",
}
CHANGED = {
    "chats": "update (title, updated_at)",
    "usage_days": "update (cost, unpriced)",
}


def upgrade() -> None:
    database = op.get_bind().exec_driver_sql("select current_database()").scalar_one()
    app, jobs = f"{database}_app", f"{database}_jobs"
    script(TABLES)
    script(FILL)
    for table, rights in NEW.items():
        script(
            f"alter table {table} enable row level security;\n"
            f"alter table {table} force row level security;\n"
            f"grant {rights} on {table} to {app};\n"
            f"create policy tenant on {table} to {app} using ({OF_TENANT}) with check ({OF_TENANT});\n"
            f"grant select (tenant_id, ctid), delete on {table} to {jobs};\n"
            f"create policy destroy on {table} to {jobs} using (tenant_id = {TENANT} and {DOOMED})"
        )
    for table, rights in CHANGED.items():
        script(f"grant {rights} on {table} to {app}")
    script(f"create policy owner on feedback as restrictive to {app} using ({OWNED}) with check ({OWNED})")
    for table in ("chats", "messages", "feedback"):
        script(
            f"create policy end_user on {table} as restrictive to {app}"
            f" using ({OF_END_USER}) with check ({OF_END_USER})"
        )
    script(
        f"create policy message on citations as restrictive to {app} using ({OF_A_MESSAGE}) with check ({OF_A_MESSAGE})"
    )
    definers(jobs)


def definers(jobs: str) -> None:
    """Old chats go whoever owns them, and no chat that was used within a day; ratings are counted, never read."""
    script(
        f"grant select (updated_at) on chats to {jobs};\n"
        f"create policy expire on chats for delete to {jobs}"
        f" using (tenant_id = {TENANT} and updated_at < now() - interval '1 day');\n"
        f"grant select (n) on citations to {jobs};\n"
        f"grant select (chat_id, guidance, asked), update (guidance, asked, unsupported) on messages to {jobs};\n"
        f"grant select (bot_id, rating, created_at) on feedback to {jobs};\n"
        f"create policy definer_jobs on feedback for select to {jobs} using (true)"
    )


def script(sql: str) -> None:
    for statement in sql.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)
