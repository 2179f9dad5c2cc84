"""Alembic's entry: runs on the connection, and in the transaction, that `migrate.upgrade` hands over."""

from __future__ import annotations

from alembic import context

from cds_service.ledger.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=False)
context.run_migrations()
