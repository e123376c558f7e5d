"""The leave to find nothing is one run's."""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

LEAVE = "alter table source_runs add column if not exists accepts_empty boolean not null default false"


def upgrade() -> None:
    database = op.get_bind().exec_driver_sql("select current_database()").scalar_one()
    app = f"{database}_app"
    script(
        f"{LEAVE};\n"
        # the leave goes from the source to the run that was asked for, and back where that one goes on as another
        f"grant update (accepts_empty) on source_runs to {app}"
    )


def script(sql: str) -> None:
    for statement in sql.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)
