"""Vectors of any dimension."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


# Without a length in its type one table holds vectors of every embedder, and is scanned as fast; nothing is rewritten.
# A changed type has its own storage again, so that is said anew.
TABLE = """
alter table dense_entries_384 alter column embedding type halfvec;
alter table dense_entries_384 alter column embedding set storage main;
alter table dense_entries_384 rename to dense_entries
"""
FORMER = ("put_dense_384", "search_dense_384", "forget_dense_384", "count_dense_384", "copy_dense_384")
NAMED = """
    select c.relname from pg_class c
    where c.relnamespace = '{schema}'::regnamespace and c.relkind in ('r', 'i', 'I') and c.relname like '{begin}%'
"""


def upgrade() -> None:
    database = op.get_bind().exec_driver_sql("select current_database()").scalar_one()
    for function in FORMER:
        script(f"drop function if exists carrel.{function}")
    script(TABLE)
    rename("carrel", "dense_entries_384")
    script(f"set local role {database}_index")
    rename("carrel_own", "dense_384")
    script("reset role")


def rename(schema: str, begin: str) -> None:
    """Tables and indexes: the statement is the same."""
    for name in op.get_bind().exec_driver_sql(NAMED.format(schema=schema, begin=begin)).scalars().all():
        script(f'alter table {schema}."{name}" rename to "{name.replace("_384", "", 1)}"')


def script(sql: str) -> None:
    for statement in sql.split(";\n"):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)
