"""Alembic environment: run all migrations in the given transaction."""

from alembic import context

from backend.history.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
context.run_migrations()
