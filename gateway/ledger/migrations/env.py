"""Run by Alembic: on the connection, and within the transaction, that `gateway.ledger.migrate` opened."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
