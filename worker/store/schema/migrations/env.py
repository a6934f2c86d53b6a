"""Alembic environment: run the migrations on the connection and in the transaction of the caller."""

from alembic import context

from worker.store.schema.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
