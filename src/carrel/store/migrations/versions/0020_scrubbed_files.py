"""Files that were brought are read again as versions are; and bytes that are there may turn out unreadable."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

FAULTS = "content_code in ('content_missing', 'content_damaged', 'content_unreadable')"
COLUMNS = f"""
alter table brought_files add column if not exists checked_at timestamptz,
    add column if not exists content_code text check ({FAULTS});
create index if not exists brought_files_by_check on brought_files (tenant_id, (coalesce(checked_at, created_at)));
alter table document_versions drop constraint if exists document_versions_content_code_check,
    add constraint document_versions_content_code_check check ({FAULTS})
"""


def upgrade() -> None:
    database = op.get_bind().exec_driver_sql("select current_database()").scalar_one()
    app, jobs = f"{database}_app", f"{database}_jobs"
    script(COLUMNS)
    script(
        f"grant update (checked_at, content_code) on brought_files to {app};\n"
        # what is due is chosen among everybody's files
        f"grant select (id, sha256, created_at, checked_at, content_code) on brought_files to {jobs}"
    )


def script(sql: str) -> None:
    for statement in sql.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)
