"""Files as the OpenAI-compatible door knows them, where they were attached, and batches of attaching."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# A file is private to who brought it; what was attached belongs to the source, and to whoever reads that. A link is
# taken before its document is there, so that two files of one name never take one place.
FILES = """
create table brought_files (
    tenant_id uuid not null references tenants (id),
    id uuid not null,
    owner_id uuid not null,
    credential_id uuid,
    name text not null,
    purpose text not null,
    media_type text,
    size bigint not null,
    sha256 bytea not null,
    blob_key text not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id)
);
create index brought_files_by_owner on brought_files (tenant_id, owner_id, id);

create table file_documents (
    tenant_id uuid not null references tenants (id),
    document_id uuid not null,
    file_id uuid not null,
    source_id uuid not null,
    owner_id uuid,
    primary key (tenant_id, document_id),
    unique (tenant_id, file_id, source_id),
    foreign key (tenant_id, source_id) references sources (tenant_id, id)
);

create table file_batches (
    tenant_id uuid not null references tenants (id),
    id uuid not null,
    source_id uuid not null,
    owner_id uuid,
    parts jsonb not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, source_id) references sources (tenant_id, id)
);

alter table sources add column metadata jsonb not null default '{}'
"""

TENANT_TABLES = {
    "brought_files": "select, insert, delete",
    "file_documents": "select, insert, delete",
    "file_batches": "select, insert",
}
OF_A_SOURCE = ("file_documents", "file_batches")

TENANT = "nullif(current_setting('carrel.tenant', true), '')::uuid"
USER = "nullif(current_setting('carrel.user', true), '')::uuid"
SOURCES = "current_setting('carrel.sources', true)"
DOOMED = f"(select exists (select from tenants t where t.id = {TENANT} and t.status = 'deleting'))"


def upgrade() -> None:
    database = op.get_bind().exec_driver_sql("select current_database()").scalar_one()
    app, jobs = f"{database}_app", f"{database}_jobs"
    script(FILES)
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
            f"grant select (tenant_id, ctid), delete on {table} to {jobs};\n"
            f"create policy destroy on {table} to {jobs} using (tenant_id = {TENANT} and {DOOMED})"
        )
    for table in OF_A_SOURCE:
        allowed = (
            f"((select {SOURCES}) = '*' or source_id = any"
            f" ((select string_to_array(nullif(nullif({SOURCES}, ''), '*'), ',')::uuid[])::uuid[]))"
        )
        script(f"create policy source on {table} as restrictive to {app} using {allowed} with check {allowed}")
    script(
        f"grant update (metadata) on sources to {app};\n"
        # counting what there is, and finding whose bytes are named, sees everybody's files
        f"grant select (tenant_id, owner_id, blob_key, size) on brought_files to {jobs};\n"
        f"create policy definer_jobs on brought_files for select to {jobs} using (true)"
    )


def script(sql: str) -> None:
    for statement in sql.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)
