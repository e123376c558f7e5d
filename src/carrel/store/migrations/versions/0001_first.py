"""The first schema: tenants, keys, sources, bots, documents, index tables, jobs, chats."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
create table tenants (
    id uuid primary key,
    slug text not null unique check (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    name text not null,
    status text not null default 'active' check (status in ('active', 'suspended', 'deleting')),
    isolation text not null default 'pooled' check (isolation in ('pooled', 'dedicated')),
    created_at timestamptz not null default now()
);

create table operator_keys (
    id uuid primary key,
    name text not null,
    mac bytea not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    created_at timestamptz not null default now()
);

create table api_keys (
    tenant_id uuid not null references tenants (id),
    id uuid not null,
    name text not null,
    mac bytea not null,
    scopes text[] not null,
    source_ids uuid[],
    bot_ids uuid[],
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id)
);
create index api_keys_by_id on api_keys (id);

create table generations (
    tenant_id uuid not null references tenants (id),
    id uuid not null,
    embedder text not null,
    dimension integer not null,
    analyzer text not null,
    state text not null check (state in ('building', 'live', 'retired')),
    created_at timestamptz not null default now(),
    primary key (tenant_id, id)
);
create unique index generations_one_live on generations (tenant_id) where state = 'live';

create table sources (
    tenant_id uuid not null references tenants (id),
    id uuid not null,
    name text not null,
    kind text not null,
    visibility text not null check (visibility in ('tenant', 'private')),
    duplicates text not null check (duplicates in ('allow', 'reject')),
    chunk_size integer not null,
    chunk_overlap integer not null,
    owner_id uuid,
    deleted_at timestamptz,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    check ((visibility = 'private') = (owner_id is not null))
);
create unique index sources_by_name on sources (tenant_id, owner_id, name) nulls not distinct where deleted_at is null;

create table bots (
    tenant_id uuid not null references tenants (id),
    id uuid not null,
    name text not null,
    instructions text not null default '',
    model text,
    retrieval jsonb not null default '{}',
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    constraint bots_by_name unique (tenant_id, name)
);

create table bot_sources (
    tenant_id uuid not null,
    bot_id uuid not null,
    source_id uuid not null,
    primary key (tenant_id, bot_id, source_id),
    foreign key (tenant_id, bot_id) references bots (tenant_id, id) on delete cascade,
    foreign key (tenant_id, source_id) references sources (tenant_id, id) on delete cascade
);
create index bot_sources_by_source on bot_sources (tenant_id, source_id);

create table documents (
    tenant_id uuid not null,
    id uuid not null,
    source_id uuid not null,
    owner_id uuid,
    key text not null,
    title text not null,
    attributes jsonb not null default '{}',
    newest_version_id uuid,
    live_version_id uuid,
    same_as uuid,
    deliveries integer not null default 1,
    deleted_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id),
    constraint documents_by_key unique (tenant_id, source_id, key),
    foreign key (tenant_id, source_id) references sources (tenant_id, id)
);
create index documents_newest_first on documents (tenant_id, created_at desc, id desc);

create table document_versions (
    tenant_id uuid not null,
    id uuid not null,
    document_id uuid not null,
    source_id uuid not null,
    owner_id uuid,
    fingerprint bytea not null,
    blob_key text not null,
    media_type text not null,
    size bigint not null,
    state text not null check (state in ('pending', 'processing', 'ready', 'failed')),
    stage text not null,
    attempts integer not null default 0,
    chunks integer not null default 0,
    failure_code text,
    failure_detail text,
    failure_retryable boolean,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, document_id) references documents (tenant_id, id)
);
create index document_versions_by_document on document_versions (tenant_id, document_id);
create index document_versions_by_fingerprint on document_versions (tenant_id, source_id, fingerprint);
alter table documents add foreign key (tenant_id, newest_version_id) references document_versions (tenant_id, id);
alter table documents add foreign key (tenant_id, live_version_id) references document_versions (tenant_id, id);
create index documents_by_newest_version on documents (tenant_id, newest_version_id);
create index documents_by_live_version on documents (tenant_id, live_version_id);

create table chunks (
    tenant_id uuid not null,
    id uuid not null,
    version_id uuid not null,
    document_id uuid not null,
    source_id uuid not null,
    owner_id uuid,
    generation_id uuid not null,
    ordinal integer not null,
    text text not null,
    text_hash bytea not null,
    heading_path text[] not null,
    page integer,
    char_start integer not null,
    char_end integer not null,
    primary key (tenant_id, id),
    foreign key (tenant_id, version_id) references document_versions (tenant_id, id) on delete cascade,
    foreign key (tenant_id, generation_id) references generations (tenant_id, id)
);
create index chunks_by_version on chunks (tenant_id, version_id, ordinal);

create table lexical_profiles (
    tenant_id uuid not null,
    version_id uuid not null,
    generation_id uuid not null,
    chunks integer not null,
    terms bytea not null,
    primary key (tenant_id, version_id, generation_id),
    foreign key (tenant_id, version_id) references document_versions (tenant_id, id) on delete cascade
);

create table lexical_stats (
    tenant_id uuid not null references tenants (id),
    generation_id uuid not null,
    revision bigint not null,
    chunks integer not null,
    terms bytea not null,
    counts bytea not null,
    primary key (tenant_id, generation_id)
);

create table jobs (
    tenant_id uuid not null references tenants (id),
    id uuid not null,
    kind text not null,
    subject_id uuid not null,
    owner_id uuid,
    turn bigint not null,
    due_at timestamptz not null,
    leased_until timestamptz,
    lease_epoch bigint not null default 0,
    attempts integer not null default 0,
    asked_again boolean not null default false,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    constraint jobs_by_subject unique (tenant_id, kind, subject_id)
);
create index jobs_in_turn on jobs (turn, created_at);

create table job_turns (
    tenant_id uuid primary key references tenants (id),
    turn bigint not null
);

create table chats (
    tenant_id uuid not null references tenants (id),
    id uuid not null,
    owner_id uuid not null,
    bot_id uuid,
    end_user text,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, bot_id) references bots (tenant_id, id) on delete set null (bot_id)
);

create table messages (
    tenant_id uuid not null,
    id uuid not null,
    chat_id uuid not null,
    owner_id uuid not null,
    question text not null,
    status text not null check (status in ('answered', 'refused', 'degraded', 'removed')),
    answer text not null,
    model text not null,
    input_tokens integer not null,
    output_tokens integer not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, chat_id) references chats (tenant_id, id) on delete cascade
);
create index messages_by_chat on messages (tenant_id, chat_id, id);

create table citations (
    tenant_id uuid not null,
    message_id uuid not null,
    n integer not null,
    chunk_id uuid not null,
    document_id uuid not null,
    primary key (tenant_id, message_id, n),
    foreign key (tenant_id, message_id) references messages (tenant_id, id) on delete cascade
);
create index citations_by_document on citations (tenant_id, document_id);

create table idempotency_keys (
    tenant_id uuid not null references tenants (id),
    principal_id uuid not null,
    key text not null,
    request_hash bytea not null,
    status integer not null,
    body jsonb not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, principal_id, key)
);

create table erasure_receipts (
    tenant_id uuid not null references tenants (id),
    id uuid not null,
    document_id uuid not null,
    version_ids uuid[] not null,
    blob_keys text[] not null,
    chunks integer not null,
    answers integer not null,
    requested_at timestamptz not null default now(),
    completed_at timestamptz,
    primary key (tenant_id, id)
);
"""

# One narrow table for each kind of entry: a wide row would go to TOAST, and the exact scan would fetch it row by row.
INDEX_TABLES = """
create table dense_entries_384 (
    tenant_id uuid not null,
    chunk_id uuid not null,
    generation_id uuid not null,
    source_id uuid not null,
    version_id uuid not null,
    embedding halfvec(384) not null,
    primary key (tenant_id, chunk_id),
    foreign key (tenant_id, chunk_id) references chunks (tenant_id, id) on delete cascade
) partition by hash (tenant_id);
alter table dense_entries_384 alter column embedding set storage main;

create table lexical_entries (
    tenant_id uuid not null,
    chunk_id uuid not null,
    generation_id uuid not null,
    source_id uuid not null,
    version_id uuid not null,
    terms sparsevec(536870911) not null,
    primary key (tenant_id, chunk_id),
    foreign key (tenant_id, chunk_id) references chunks (tenant_id, id) on delete cascade
) partition by hash (tenant_id);
alter table lexical_entries alter column terms set storage main;
"""

PARTITIONS = 16
PARTITIONED = ("dense_entries_384", "lexical_entries")
INDEX = (*PARTITIONED, "lexical_profiles", "lexical_stats")

# Which role may do what, and which rows it sees. Every policy names its role; a table of a tenant that stands in no
# list here has no policy and so shows nothing.
TENANT_TABLES = {
    "api_keys": "select, insert, update (last_used_at, revoked_at, name)",
    "generations": "select, insert, update (state)",
    "sources": "select, insert, update (name, duplicates, chunk_size, chunk_overlap, deleted_at)",
    "bots": "select, insert, update (name, instructions, model, retrieval), delete",
    "bot_sources": "select, insert, delete",
    "documents": "select, insert, update (title, attributes, newest_version_id, live_version_id, same_as, deliveries,"
    " deleted_at, created_at, updated_at)",
    "document_versions": "select, insert, update (state, stage, attempts, chunks, failure_code, failure_detail,"
    " failure_retryable, updated_at), delete",
    "chunks": "select, insert, delete",
    "jobs": "select, update (due_at, leased_until, attempts, asked_again), delete",
    "chats": "select, insert, delete",
    "messages": "select, insert, update (status, answer), delete",
    "citations": "select, insert, delete",
    "idempotency_keys": "select, insert, update (status, body), delete",
    "erasure_receipts": "select, insert, update (completed_at)",
}
PRIVATE = ("sources", "documents", "document_versions", "chunks", "chats", "messages")
SOURCE_COLUMN = {
    "sources": "id",
    "bot_sources": "source_id",
    "documents": "source_id",
    "document_versions": "source_id",
    "chunks": "source_id",
}

TENANT = "nullif(current_setting('carrel.tenant', true), '')::uuid"
USER = "nullif(current_setting('carrel.user', true), '')::uuid"
SOURCES = "current_setting('carrel.sources', true)"
PLATFORM = "current_setting('carrel.platform', true) = 'on'"


def upgrade() -> None:
    script(TABLES)
    script(INDEX_TABLES)
    for table in PARTITIONED:
        for number in range(PARTITIONS):
            script(
                f"create table {table}_p{number:02} partition of {table}"
                f" for values with (modulus {PARTITIONS}, remainder {number})"
                " with (toast_tuple_target = 8160, autovacuum_vacuum_scale_factor = 0.05)"
            )
    database = op.get_bind().exec_driver_sql("select current_database()").scalar_one()
    app, auth, index, jobs = (f"{database}_{name}" for name in ("app", "auth", "index", "jobs"))
    protect()
    script(f"grant usage on schema carrel to {app}, {auth}, {index}, {jobs}")
    serve(app)
    walls(app)
    definers(auth, index, jobs)


def script(sql: str) -> None:
    for statement in sql.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)


def protect() -> None:
    """Row-level security on every table, forced, so that the owner too sees nothing without a policy."""
    names = op.get_bind().exec_driver_sql(
        "select format('%I', relname) from pg_class where relnamespace = 'carrel'::regnamespace"
        " and relkind in ('r', 'p') and relname <> 'schema_version'"
    )
    for (name,) in names.all():
        script(f"alter table {name} enable row level security;\nalter table {name} force row level security")


def serve(app: str) -> None:
    for table, rights in TENANT_TABLES.items():
        script(f"grant {rights} on {table} to {app}")
        script(
            f"create policy tenant on {table} to {app} using (tenant_id = {TENANT}) with check (tenant_id = {TENANT})"
        )
    script(f"grant select, insert, update (name, status) on tenants to {app}")
    script(f"create policy own on tenants for select to {app} using (id = {TENANT})")
    script(f"create policy platform on tenants to {app} using ({PLATFORM}) with check ({PLATFORM})")
    script(f"grant select, insert, update (last_used_at, revoked_at) on operator_keys to {app}")
    script(f"create policy platform on operator_keys to {app} using ({PLATFORM}) with check ({PLATFORM})")


def walls(app: str) -> None:
    """Restrictive policies are AND-ed: a private row needs its owner, a row of a source needs the source in the grant.

    The settings stand in sub-selects, so that they are read once for a statement and not once for a row.
    """
    for table in PRIVATE:
        script(
            f"create policy owner on {table} as restrictive to {app}"
            f" using (owner_id is null or owner_id = (select {USER}))"
            f" with check (owner_id is null or owner_id = (select {USER}))"
        )
    for table, column in SOURCE_COLUMN.items():
        allowed = (
            f"((select {SOURCES}) = '*' or {column} = any"
            f" ((select string_to_array(nullif(nullif({SOURCES}, ''), '*'), ',')::uuid[])::uuid[]))"
        )
        script(f"create policy source on {table} as restrictive to {app} using {allowed} with check {allowed}")


def definers(auth: str, index: str, jobs: str) -> None:
    """The owners of the definer functions see across tenants, each on the least it needs; they cannot log in."""
    script(
        f"grant select (id, mac, expires_at, revoked_at, last_used_at) on operator_keys to {auth};\n"
        f"grant select (tenant_id, id, mac, scopes, source_ids, bot_ids, expires_at, revoked_at, last_used_at)"
        f" on api_keys to {auth};\n"
        f"grant select (id, status) on tenants to {auth};\n"
        f"grant select (tenant_id, bot_id, source_id) on bot_sources to {auth};\n"
        f"grant select, insert, update on jobs, job_turns to {jobs};\n"
        f"grant select (tenant_id, message_id, document_id) on citations to {jobs};\n"
        f"grant select (tenant_id, blob_key) on document_versions to {jobs};\n"
        f"grant select (tenant_id, id, status), update (status, answer) on messages to {jobs}"
    )
    for table in ("operator_keys", "api_keys", "tenants", "bot_sources"):
        script(f"create policy definer_auth on {table} for select to {auth} using (true)")
    for table in INDEX:
        script(f"grant select, insert, update, delete on {table} to {index}")
        script(f"create policy definer_index on {table} to {index} using (true) with check (true)")
    for table in ("jobs", "job_turns"):
        script(f"create policy definer_jobs on {table} to {jobs} using (true) with check (true)")
    for table in ("citations", "document_versions"):
        script(f"create policy definer_jobs on {table} for select to {jobs} using (true)")
    script(f"create policy definer_jobs on messages to {jobs} using (true) with check (true)")
