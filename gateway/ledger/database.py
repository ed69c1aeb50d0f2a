"""The ledger's database as its writer sees it: blocking, one connection, safe words when something is wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from gateway.ledger import hours, upkeep
from gateway.ledger.engine import open_engine, printable
from gateway.ledger.faults import POISON, DatabaseFault, to_blame, words
from gateway.ledger.inserting import Values, insert
from gateway.ledger.migrate import migrate

_PRIVATE = 0o600
_log = logging.getLogger("gateway")


class Stored(NamedTuple):
    """Of one batch: rows that are new, and why others can never be stored, by their place in the batch."""

    new: int
    refused: dict[int, str]


class Database:
    """Not for the event loop: every method but `close` waits for the disk or the network. One thread at a time."""

    def __init__(self, url: str, keep_months: int, now: Callable[[], int]) -> None:
        """`now`: microseconds since the epoch."""
        self._engine, self._keep_months, self._now = open_engine(url), keep_months, now
        self.where = printable(url)
        self.shared = self._engine.dialect.name != "sqlite"
        """Whether several may write at a time."""
        self._inode: int | None = None

    def open(self) -> str:
        """Brings the schema up to date; its revision. Raises DatabaseFault."""
        if not self.shared:
            self._own_file()
        with self._told():
            with self._engine.begin() as connection:
                revision = migrate(connection, self.where)
            upkeep.make_partitions(self._engine, self._now())
        self._inode = self._file()
        return revision

    def store(self, rows: Sequence[Values], minutes: Sequence[hours.Minute] = ()) -> Stored:
        """All of them in one transaction, committed when this returns. Raises DatabaseFault: none is stored then, or
        all are and nobody could be told; storing them again makes no second row."""
        if self._inode != self._file():
            self.close()
            raise DatabaseFault("the file is gone, or another one")
        with self._told():
            try:
                with self._engine.begin() as connection:
                    hours.add(connection, minutes)
                    return Stored(insert(connection, rows) if rows else 0, {})
            except (SQLAlchemyError, *POISON) as fault:
                if not to_blame(fault):
                    raise
            with self._engine.begin() as connection:
                _minute_by_minute(connection, minutes)
                return _one_by_one(connection, rows)

    def tend(self) -> bool:
        """Partitions ahead, and a step of retention; True: there is more of it to do. Raises DatabaseFault."""
        with self._told():
            upkeep.make_partitions(self._engine, self._now())
            return upkeep.expire(self._engine, self._now(), self._keep_months)

    def close(self) -> None:
        """What follows connects anew."""
        self._engine.dispose()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, OSError) as fault:
            self.close()
            raise DatabaseFault(words(fault)) from None

    def _own_file(self) -> None:
        """The file is for this user alone, also where its folder is not. Raises DatabaseFault."""
        path = Path(self.where)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=_PRIVATE)
        except OSError as fault:
            raise DatabaseFault(f"{path}: {fault.strerror}") from None

    def _file(self) -> int | None:
        """What tells one file from the next of the same name."""
        if self.shared:
            return None
        try:
            return Path(self.where).stat().st_ino
        except OSError:
            return -1


def _minute_by_minute(connection: Connection, minutes: Sequence[hours.Minute]) -> None:
    """One that cannot be added is told of and left out: the next minute says almost the same."""
    for minute in minutes:
        try:
            with connection.begin_nested():
                hours.add(connection, [minute])
        except (SQLAlchemyError, *POISON) as fault:
            if not to_blame(fault):
                raise
            _log.error("a minute of worker-hours is left out", extra={"fields": {"why": words(fault)}})


def _one_by_one(connection: Connection, rows: Sequence[Values]) -> Stored:
    """A row that cannot be stored must not keep the others out."""
    new, refused = 0, {}
    for place, row in enumerate(rows):
        try:
            with connection.begin_nested():
                new += insert(connection, [row])
        except (SQLAlchemyError, *POISON) as fault:
            if not to_blame(fault):
                raise
            refused[place] = words(fault)
    return Stored(new, refused)
