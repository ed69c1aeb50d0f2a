"""One connection to the ledger's database, set up so that what is committed is on the disk and nothing hangs."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url

CONNECT_SECONDS = 5
BUSY_SECONDS = 5.0
"""How long SQLite waits for another writer, such as a migration by hand."""
_POSTGRES = {
    "connect_timeout": str(CONNECT_SECONDS),
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
    "application_name": "gateway ledger",
    "options": "-c statement_timeout=60000 -c lock_timeout=10000 -c timezone=UTC",
}
"""libpq's words: a database that is cut off is found out in seconds. What the URL says goes before."""


def open_engine(url: str) -> Engine:
    """Nothing is connected yet. Statements that fail tell none of their parameters."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed)
    given = {name: value for name, value in _POSTGRES.items() if name not in parsed.query}
    return create_engine(parsed, pool_size=1, max_overflow=0, hide_parameters=True, connect_args=given)


def printable(url: str) -> str:
    """For messages: no user, no password, no options."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return str(parsed.database)
    return f"{parsed.host or parsed.query.get('host') or 'localhost'}:{parsed.port or 5432}/{parsed.database or ''}"


def _sqlite(url: URL) -> Engine:
    engine = create_engine(
        url, pool_size=1, max_overflow=0, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS}
    )

    @event.listens_for(engine, "connect")
    def connected(raw: sqlite3.Connection, _: Any) -> None:
        raw.isolation_level = None  # its own BEGIN comes too late: not before DDL, and not as a writer
        raw.execute("PRAGMA journal_mode=WAL")
        raw.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def begins(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
