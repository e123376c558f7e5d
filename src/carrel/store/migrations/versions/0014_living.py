"""Living documents: what each vector read, every version's record, and crashes counted."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# A record has neither text nor bytes: it says that there was such a version, and when it was the one that was read.
TABLES = """
alter table chunks add column reading_hash bytea;
create index chunks_by_reading on chunks (tenant_id, source_id, reading_hash);
alter table document_versions add column crashes integer not null default 0;
alter table citations add column version_id uuid;
alter table erasure_receipts add column records integer not null default 0;

create table version_records (
    tenant_id uuid not null,
    id uuid not null,
    document_id uuid not null,
    source_id uuid not null,
    owner_id uuid,
    number integer not null check (number >= 1),
    fingerprint bytea not null,
    media_type text not null,
    size bigint not null,
    chunks integer not null default 0,
    brought_by uuid,
    created_at timestamptz not null default now(),
    live_from timestamptz,
    live_until timestamptz,
    primary key (tenant_id, id),
    constraint version_records_by_number unique (tenant_id, document_id, number),
    foreign key (tenant_id, document_id) references documents (tenant_id, id)
)
"""

# The owner of the tables sees no row of them while row-level security is forced. When an older version went live was
# never written down; its last change is the best that is known.
FILL = """
alter table documents no force row level security;
alter table document_versions no force row level security;
alter table chunks no force row level security;
alter table citations no force row level security;
insert into version_records (tenant_id, id, document_id, source_id, owner_id, number, fingerprint, media_type, size,
                             chunks, brought_by, created_at, live_from)
select v.tenant_id, v.id, v.document_id, v.source_id, v.owner_id,
       row_number() over (partition by v.tenant_id, v.document_id order by v.created_at, v.id), v.fingerprint,
       v.media_type, v.size, v.chunks, v.requested_by, v.created_at,
       case when v.id = d.live_version_id then v.updated_at end
from document_versions v join documents d on d.tenant_id = v.tenant_id and d.id = v.document_id
where d.deleted_at is null;
update citations t set version_id = c.version_id from chunks c where c.tenant_id = t.tenant_id and c.id = t.chunk_id;
alter table documents force row level security;
alter table document_versions force row level security;
alter table chunks force row level security;
alter table citations force row level security;
alter table version_records enable row level security;
alter table version_records force row level security
"""

TENANT = "nullif(current_setting('carrel.tenant', true), '')::uuid"
OF_TENANT = f"tenant_id = {TENANT}"
USER = "nullif(current_setting('carrel.user', true), '')::uuid"
SOURCES = "current_setting('carrel.sources', true)"
DOOMED = f"(select exists (select from tenants t where t.id = {TENANT} and t.status = 'deleting'))"
OWNED = f"owner_id is null or owner_id = (select {USER})"
ALLOWED = (
    f"((select {SOURCES}) = '*' or source_id = any"
    f" ((select string_to_array(nullif(nullif({SOURCES}, ''), '*'), ',')::uuid[])::uuid[]))"
)


def upgrade() -> None:
    database = op.get_bind().exec_driver_sql("select current_database()").scalar_one()
    app, jobs = f"{database}_app", f"{database}_jobs"
    script(TABLES)
    script(FILL)
    script(
        f"grant select, insert, update (number, chunks, brought_by, created_at, live_from, live_until), delete"
        f" on version_records to {app};\n"
        f"create policy tenant on version_records to {app} using ({OF_TENANT}) with check ({OF_TENANT});\n"
        f"create policy owner on version_records as restrictive to {app} using ({OWNED}) with check ({OWNED});\n"
        f"create policy source on version_records as restrictive to {app} using {ALLOWED} with check {ALLOWED};\n"
        f"grant select (tenant_id, ctid), delete on version_records to {jobs};\n"
        f"create policy destroy on version_records to {jobs} using (tenant_id = {TENANT} and {DOOMED});\n"
        f"grant update (crashes) on document_versions to {app}"
    )


def script(sql: str) -> None:
    for statement in sql.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)
