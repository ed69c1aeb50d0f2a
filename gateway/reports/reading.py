"""Asks the ledger's database, with a time limit. Blocking: off the event loop, `asking.py` does that."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import msgspec
from sqlalchemy import Connection, Engine, RowMapping, create_engine, event, make_url, text
from sqlalchemy.exc import DataError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from gateway.errors import InvalidRequest, NoCapacity
from gateway.ledger import months
from gateway.ledger.tables import MICRO_PER_DAY
from gateway.model import US_PER_HOUR
from gateway.reports import queries
from gateway.reports.ask import DAY, HOUR, LISTED, MOST_LINES, TAG, Ask, Line, Report
from gateway.reports.fleet_cost import Fleet
from gateway.reports.queries import MEASURES

MOST_WORKER_HOURS = 200_000
"""A week of 1,000 workers, and some."""
SECONDS = 10.0
CONNECT_SECONDS, RETRY_AFTER_SECONDS = 5, 5
_CANCELLED, _NO_RIGHT = "57014", "42501"
"""PostgreSQL's codes: query_canceled, insufficient_privilege."""
_SQLITE_STEPS = 10_000
"""Instructions of SQLite's virtual machine between two looks at the clock: about 0.1 ms."""


_FIRST, _LAST = months.start_of(months.FIRST), months.start_of(months.LAST)
"""Microseconds since the epoch, of what datetime can tell."""


def open_reading(url: str) -> Engine:
    """For questions alone: it can change nothing, takes no writers' lock, and each of its transactions sees one state
    of the database. A connection lasts as long as its question: nobody asks often."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(
            parsed,
            poolclass=NullPool,
            hide_parameters=True,
            isolation_level="REPEATABLE READ",
            connect_args={"connect_timeout": str(CONNECT_SECONDS), "application_name": "gateway reports"},
        )
    only = parsed.set(database=f"file:{quote(parsed.database or '')}", query={"mode": "ro", "uri": "true"})
    engine = create_engine(only, poolclass=NullPool, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def connected(raw: sqlite3.Connection, _: Any) -> None:
        raw.isolation_level = None

    @event.listens_for(engine, "begin")
    def begins(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def _now() -> int:
    return time.time_ns() // 1000


class Reader:
    def __init__(self, engine: Engine, seconds: float = SECONDS, now: Callable[[], int] = _now) -> None:
        """`now`: microseconds since the epoch."""
        self._engine, self._seconds, self._now = engine, seconds, now

    def report(self, ask: Ask) -> Report:
        """A page of the lines, and the sums of all. Raises as `all`."""
        found = self.all(ask)
        end = ask.offset + ask.limit
        return replace(found, lines=found.lines[ask.offset : end], more=len(found.lines) > end)

    def all(self, ask: Ask) -> Report:
        """Every line. Raises InvalidRequest where that is too much, NoCapacity where the database is away."""
        with self.connected() as connection:
            found: list[Line] = [
                _line(row) for row in connection.execute(queries.summed(ask, MOST_LINES + 1)).mappings()
            ]
            total = _line(connection.execute(queries.total(ask)).mappings().one())
        if len(found) > MOST_LINES:
            raise InvalidRequest(f"more than {MOST_LINES} lines: group by less, or name a shorter time")
        if not ask.by:
            return Report((), [], total)
        if TAG in ask.by:
            found = each_tag(found, ask.by)
        return Report(ask.by, found, total)

    def attempts(self, ask: Ask) -> Report:
        """Single attempts, the newest first, and the sums of all of them."""
        with self.connected() as connection:
            found = [_attempt(row) for row in connection.execute(queries.listed(ask)).mappings()]
            total = _line(connection.execute(queries.total(ask)).mappings().one())
        return Report(LISTED, found[: ask.limit], total, len(found) > ask.limit)

    def span(self, ask: Ask) -> tuple[int, int] | None:
        """The first and the last end, microseconds since the epoch; None where there is nothing."""
        with self.connected() as connection:
            first, last = connection.execute(queries.span(ask, self._now())).one()
        return None if first is None else (int(first), int(last))

    def worker_hours(self, ask: Ask) -> list[tuple[int, str, Fleet]]:
        """(hour since the epoch, worker, its hour), in order. Without their work. Raises as `all`."""
        with self.connected() as connection:
            rows = connection.execute(queries.worker_hours(ask, MOST_WORKER_HOURS + 1)).mappings().all()
        if len(rows) > MOST_WORKER_HOURS:
            raise InvalidRequest(f"more than {MOST_WORKER_HOURS} hours of workers: name a shorter time")
        return [(row["hour"], row["worker"], _fleet(row)) for row in rows]

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """A connection that gives up when the time is over. Raises as `report`."""
        try:
            with self._engine.connect() as connection, _limited(connection, self._seconds):
                yield connection
        except (DataError, OverflowError, UnicodeError):
            raise InvalidRequest("a value is asked for that the ledger cannot hold") from None
        except DBAPIError as fault:
            if _took_too_long(fault):
                said = f"the ledger took longer than {self._seconds:g} s: name a shorter time"
                raise InvalidRequest(said) from None
            raise _away(forbidden=_sqlstate(fault) == _NO_RIGHT) from None
        except SQLAlchemyError:
            raise _away() from None


def _away(*, forbidden: bool = False) -> NoCapacity:
    said = "the ledger's database does not answer, or no row has been written to it yet"
    if forbidden:
        said = "the ledger's database gives no right to read it; docs/ledger.md has the GRANT"
    return NoCapacity(said, retry_after=RETRY_AFTER_SECONDS)


def each_tag(found: Sequence[Line], by: Sequence[str]) -> list[Line]:
    """Lines per set of tags -> per tag. What has several tags counts in each, so these lines add up to more than the
    total; what has none is in the line of the empty tag."""
    made: dict[tuple[Any, ...], dict[str, Any]] = {}
    for line in found:
        for tag in msgspec.json.decode(line[TAG], type=tuple[str, ...]) or ("",):
            own = {**line, TAG: tag}
            key = tuple(own[name] for name in by)
            before = made.get(key)
            made[key] = own if before is None else {**own, **{name: own[name] + before[name] for name in MEASURES}}
    return [made[key] for key in sorted(made)]


def _line(row: RowMapping) -> dict[str, Any]:
    return {name: _value(name, value) for name, value in row.items()}


def _value(name: str, value: Any) -> Any:
    if name == DAY:
        return _moment(value * MICRO_PER_DAY).date().isoformat()
    if name == HOUR:
        return _moment(value * US_PER_HOUR).isoformat(timespec="minutes").replace("+00:00", "Z")
    if name == "seconds":
        return round(float(value or 0.0), 6)
    return int(value or 0) if name in MEASURES else value


def _moment(micros: int) -> datetime:
    """The nearest that a date can tell: of a clock that was far off."""
    epoch = datetime.fromtimestamp(0, UTC)
    return epoch + timedelta(microseconds=min(max(micros, _FIRST), _LAST))


def _attempt(row: RowMapping) -> dict[str, Any]:
    return {**row, "ended": _moment(row["ended"]).isoformat(timespec="milliseconds").replace("+00:00", "Z")}


def _fleet(row: RowMapping) -> Fleet:
    names = ("backend", "gpu_kind", "gpus", "overhead", "assumed", "up", "out", "busy", "priced", "rate_sum")
    made = Fleet(**{name: row[name] for name in names})
    return replace(made, use_sum=row["use_sum"], use_seen=row["use_seen"])


@contextmanager
def _limited(connection: Connection, seconds: float) -> Iterator[None]:
    if connection.dialect.name != "sqlite":
        connection.execute(text("SELECT set_config('statement_timeout', :ms, true)"), {"ms": str(int(seconds * 1000))})
        yield
        return
    driver: Any = connection.connection.driver_connection
    until = time.monotonic() + seconds
    driver.set_progress_handler(lambda: time.monotonic() > until, _SQLITE_STEPS)
    try:
        yield
    finally:
        driver.set_progress_handler(None, 0)


def _took_too_long(fault: DBAPIError) -> bool:
    """As SQLite and PostgreSQL say it."""
    return str(fault.orig) == "interrupted" or _sqlstate(fault) == _CANCELLED


def _sqlstate(fault: DBAPIError) -> str | None:
    found: str | None = getattr(fault.orig, "sqlstate", None)
    return found
