"""The ledger knows what was embedded for others."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

KINDS = """
alter table usage_days drop constraint usage_days_kind_check,
    add constraint usage_days_kind_check check (kind in ('question', 'document', 'embedding'))
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(KINDS)
