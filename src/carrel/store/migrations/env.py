"""Alembic's entry: it migrates the connection that it is given and opens none of its own."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table="schema_version",
    version_table_schema="carrel",
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
