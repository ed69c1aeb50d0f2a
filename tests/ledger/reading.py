"""What is in a ledger, asked past the code under test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool


def on(url: str, work: Callable[[Connection], Any]) -> Any:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        return work(connection)


def asked(url: str, sql: str) -> list[tuple[Any, ...]]:
    """The rows of a SELECT."""
    found: Sequence[Any] = on(url, lambda connection: connection.execute(text(sql)).all())
    return [tuple(each) for each in found]


def told(url: str, sql: str) -> None:
    """Any other statement. Raises what the database raises."""
    on(url, lambda connection: connection.execute(text(sql)))
