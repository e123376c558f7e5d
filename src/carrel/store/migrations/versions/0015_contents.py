"""When a version's bytes were last read again, and what was wrong with them then."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

COLUMNS = """
alter table document_versions add column checked_at timestamptz,
    add column content_code text check (content_code in ('content_missing', 'content_damaged'));
create index document_versions_by_check on document_versions (tenant_id, (coalesce(checked_at, created_at)))
"""


def upgrade() -> None:
    database = op.get_bind().exec_driver_sql("select current_database()").scalar_one()
    app, jobs = f"{database}_app", f"{database}_jobs"
    script(COLUMNS)
    script(
        f"grant update (checked_at, content_code) on document_versions to {app};\n"
        # what is due is chosen among everybody's versions
        "grant select (id, document_id, owner_id, fingerprint, created_at, checked_at, content_code)"
        f" on document_versions to {jobs}"
    )


def script(sql: str) -> None:
    for statement in sql.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)
