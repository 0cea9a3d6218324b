"""Alembic's entry: runs the pending revisions on the connection it was handed, each in a transaction of its own."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table="revision",
    version_table_schema="storage",
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
