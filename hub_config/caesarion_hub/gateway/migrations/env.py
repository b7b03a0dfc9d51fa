"""Run by alembic, within the transaction that ``database`` has begun."""

from alembic import context

from caesarion_hub.gateway.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=False,
)
context.run_migrations()
