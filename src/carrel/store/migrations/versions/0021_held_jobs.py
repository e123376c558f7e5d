"""Jobs that are held until somebody releases them stand in no line: however many there are, nobody walks by them."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """`due_at < 'infinity'` is said where a line is walked, or the index does not serve."""
    connection = op.get_bind()
    connection.exec_driver_sql("drop index if exists jobs_in_turn")
    connection.exec_driver_sql("create index jobs_in_turn on jobs (turn, created_at) where due_at < 'infinity'")
