"""Brings a ledger's schema to what this gateway writes, once, however many replicas start at a time."""

from __future__ import annotations

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from gateway.ledger.faults import NewerSchema

LOCK = 0x6777_6C65_6467_6572
"""`gwledger`: the key of PostgreSQL's advisory lock, for the schema and its partitions."""
FOLDER = Path(__file__).parent / "migrations"

_log = logging.getLogger("gateway")


def migrate(connection: Connection, where: str) -> str:
    """The revision that the schema has afterwards. Within the caller's transaction, which the lock lasts as long as:
    SQLite's own writers' lock (BEGIN IMMEDIATE), or PostgreSQL's advisory one. Raises NewerSchema."""
    lock(connection)
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    head, found = str(script.get_current_head()), MigrationContext.configure(connection).get_current_revision()
    if found == head:
        return head
    if found is not None and found not in {each.revision for each in script.walk_revisions()}:
        raise NewerSchema(
            f"the ledger at {where} has schema {found}, which a newer gateway made; this one knows {head}: "
            "update it, or give it a ledger of its own (GATEWAY_LEDGER_URL)"
        )
    command.upgrade(config, "head")
    _log.info("ledger schema", extra={"fields": {"where": where, "from": found, "to": head}})
    return head


def lock(connection: Connection) -> None:
    """Held by one connection at a time until its transaction ends."""
    if connection.dialect.name != "sqlite":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
