"""Partitions made ahead, and what is older than its retention removed: the only deletion there is."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from sqlalchemy import Connection, Engine, delete, func, select, text, update
from sqlalchemy.exc import DBAPIError

from gateway.ledger import months
from gateway.ledger.faults import words
from gateway.ledger.hours import fleet_hours
from gateway.ledger.migrate import lock
from gateway.ledger.tables import MICRO_PER_DAY, attempts, kept, seen
from gateway.model import US_PER_HOUR

BEHIND, AHEAD = 1, 2
"""Months before and after this one that have a partition; any other row goes to `attempts_other`."""
PARTITION = "attempts_"
STEP_MARKS = 20_000
"""Lines of `attempts_seen` that are removed in one transaction: a second or less."""
PROOF_DAYS, GAP_DAYS = 7, 31
"""Retention believes a jump in time of more than so long only after a week of rows."""
LOCK_MS = 2_000
"""How long upkeep waits for a table that is being read: whoever comes after waits behind it."""
_CHILDREN = text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'attempts'::regclass")

_log = logging.getLogger("gateway")


def make_partitions(engine: Engine, now: int) -> None:
    """`now` in microseconds since the epoch. One that cannot be made is told of: its rows go to `attempts_other`, for
    instance those of a clock that ran ahead."""
    if engine.dialect.name == "sqlite":
        return
    this = months.month_of(now)
    with engine.begin() as connection:
        there = {month for month, _ in partitions(connection)}
    for month in range(this - BEHIND, this + AHEAD + 1):
        if month not in there:
            try:
                with engine.begin() as connection:
                    _lock(connection)
                    _make(connection, month)
            except DBAPIError as fault:
                fields = {"month": months.name_of(month), "why": words(fault)}
                _log.warning("a partition of the ledger could not be made", extra={"fields": fields})


def _make(connection: Connection, month: int) -> None:
    """The trigger of the whole table against TRUNCATE does not hold for a partition alone."""
    name = f"{PARTITION}{months.name_of(month)}"
    if month in {there for there, _ in partitions(connection)}:
        return
    connection.exec_driver_sql(
        f"CREATE TABLE {name} PARTITION OF attempts "
        f"FOR VALUES FROM ({months.start_of(month)}) TO ({months.start_of(month + 1)})"
    )
    connection.exec_driver_sql(
        f"CREATE TRIGGER attempts_no_truncate BEFORE TRUNCATE ON {name} "
        "FOR EACH STATEMENT EXECUTE FUNCTION attempts_immutable()"
    )


def _lock(connection: Connection) -> None:
    lock(connection)
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_MS}")


def partitions(connection: Connection) -> Iterator[tuple[int, str]]:
    """(month, table) of each that is there; `attempts_other` has no month."""
    for name in sorted(connection.execute(_CHILDREN).scalars()):
        month = months.parse(name.removeprefix(PARTITION))
        if month is not None:
            yield month, name


def expire(engine: Engine, now: int, keep_months: int) -> bool:
    """Removes what ended before the month that lies `keep_months` before this one, a day (SQLite) or a partition at a
    time, what PostgreSQL knows of them in steps; True: there is more to remove.

    A clock that jumped ahead removes nothing: no later than the newest row, it is not now. Nor where rows have that
    clock too: after a gap of more than GAP_DAYS there must be rows of more than PROOF_DAYS.
    """
    more = _expire_rows(engine, now, keep_months)
    return (engine.dialect.name != "sqlite" and _expire_marks(engine)) or more


def _expire_rows(engine: Engine, now: int, keep_months: int) -> bool:
    with engine.begin() as connection:
        newest = _latest(connection, now)
        if newest is None:
            return False
        before = months.start_of(max(months.month_of(newest) - keep_months, months.FIRST))
        since: int = connection.execute(select(kept.c.since)).scalar_one()
        if before <= since:
            return False
        proof = _latest(connection, newest - PROOF_DAYS * MICRO_PER_DAY)
        if proof is None or proof < newest - (PROOF_DAYS + GAP_DAYS) * MICRO_PER_DAY:
            _log.warning("the ledger's rows jumped ahead in time: none is removed by age for a week")
            return False
        if engine.dialect.name == "sqlite":
            oldest = connection.execute(select(func.min(attempts.c.ended))).scalar_one()
            step: int = min(before, max(since, oldest) + MICRO_PER_DAY)
        else:
            _lock(connection)
            step = _drop(connection, before)
        connection.execute(update(kept).values(since=step))
        gone = connection.execute(delete(attempts).where(attempts.c.ended < step)).rowcount
        connection.execute(delete(fleet_hours).where(fleet_hours.c.hour < step // US_PER_HOUR))
    _log.info("ledger rows removed by age", extra={"fields": {"before": step // MICRO_PER_DAY, "rows": gone}})
    return step < before


def _latest(connection: Connection, until: int) -> int | None:
    """The last end that is no later."""
    found: int | None = connection.execute(select(func.max(attempts.c.ended)).where(attempts.c.ended <= until)).scalar()
    return found


def _expire_marks(engine: Engine) -> bool:
    """Forgets attempts whose time is over. Rows of them that came late go in the same transaction: what has a row is
    never forgotten."""
    with engine.begin() as connection:
        since: int = connection.execute(select(kept.c.since)).scalar_one()
        connection.execute(delete(attempts).where(attempts.c.ended < since))
        old = select(seen.c.attempt).where(seen.c.ended < since).limit(STEP_MARKS)
        return connection.execute(delete(seen).where(seen.c.attempt.in_(old))).rowcount == STEP_MARKS


def _drop(connection: Connection, before: int) -> int:
    """Drops the oldest partition that ends no later than `before`; up to when rows are gone then."""
    for month, name in partitions(connection):
        end = months.start_of(month + 1)
        if end <= before:
            connection.exec_driver_sql(f"DROP TABLE {name}")
            return end
    return before
