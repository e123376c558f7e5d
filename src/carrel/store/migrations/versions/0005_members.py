"""Members and invitations at work: a version knows who asked for it, and the queue knows whose tenant is suspended."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    database = op.get_bind().exec_driver_sql("select current_database()").scalar_one()
    app, jobs = f"{database}_app", f"{database}_jobs"
    for statement in (
        "alter table document_versions add column requested_by uuid",
        f"grant update (requested_by) on document_versions to {app}",
        "create index invitations_newest_first on invitations (tenant_id, created_at desc, id desc)",
        f"grant select (id, status) on tenants to {jobs}",
        f"create policy definer_jobs on tenants for select to {jobs} using (true)",
    ):
        op.get_bind().exec_driver_sql(statement)
