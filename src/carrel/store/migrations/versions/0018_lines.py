"""Chunks know the line of the file on which they begin."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

COLUMN = "alter table chunks add column if not exists line integer check (line > 0)"


def upgrade() -> None:
    op.get_bind().exec_driver_sql(COLUMN)
