"""Rows into tables: statements with bound parameters alone, and whichever row of an attempt is there first stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from gateway.ledger.tables import attempts, seen

Values = Mapping[str, Any]


def insert(connection: Connection, rows: Sequence[Values]) -> int:
    """How many of them are new. Raises SQLAlchemyError, or what a driver raises for a value that it cannot take."""
    return _INSERTS[connection.dialect.name](connection, rows)


def _sqlite(connection: Connection, rows: Sequence[Values]) -> int:
    statement = sqlite.insert(attempts).on_conflict_do_nothing(index_elements=["attempt"])
    return connection.execute(statement, list(rows)).rowcount


def _postgres(connection: Connection, rows: Sequence[Values]) -> int:
    """`attempts_seen` decides. In order of their ids, so that two writers with the same rows cannot lock each other
    out: the second waits until the first has committed, and then finds them there."""
    first: dict[str, Values] = {}
    for row in rows:
        first.setdefault(row["attempt"], row)
    marks = [{"attempt": name, "ended": first[name]["ended"]} for name in sorted(first)]
    found = connection.execute(
        postgresql.insert(seen).on_conflict_do_nothing(index_elements=["attempt"]).returning(seen.c.attempt), marks
    )
    new = [first[name] for name in found.scalars()]
    if new:
        connection.execute(attempts.insert(), new)
    return len(new)


_INSERTS: Mapping[str, Callable[[Connection, Sequence[Values]], int]] = {"sqlite": _sqlite, "postgresql": _postgres}
