"""One row per attempt, its first, on both databases; what cannot be stored is set aside; nothing is ever changed."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from _pytest.logging import LogCaptureFixture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from gateway.ledger.batch import Entry, read
from gateway.ledger.database import Database
from gateway.ledger.faults import DatabaseFault, NewerSchema
from gateway.ledger.hours import Minute
from gateway.ledger.inserting import Values
from gateway.ledger.months import start_of
from gateway.model import Row, WorkerMinute
from tests.ledger.conftest import NEWEST
from tests.ledger.reading import asked, told
from tests.ledger.rows import NOW, encoded, row

MONTH = 31 * 86_400 * 10**6
_numbers = count(1)
SQL = "'; DROP TABLE attempts; --"


def batch(*rows: Row) -> tuple[Values, ...]:
    found = read([Entry(b"1-0", tuple(encoded(*rows)))])
    assert found.refused == ()
    return found.rows


def test_a_row_comes_back_as_it_went(url: str, ledger: Database) -> None:
    ledger.store(batch(row(1, cost=2**53, list_cost=None, estimated=True, seconds=2.5)))
    found = asked(url, "SELECT attempt, tenant, tags, cost, list_cost, estimated, seconds, ended FROM attempts")
    assert found == [("owner:1", "acme", '["team-a","nightly"]', 2**53, None, True, 2.5, NOW)]


def test_the_first_row_stays(url: str, ledger: Database) -> None:
    """Also against one of another month, and within one batch."""
    assert ledger.store(batch(row(1), row(1, cost=7), row(2))).new == 2
    assert ledger.store(batch(row(1, cost=8, ended=NOW + MONTH), row(2, ended=NOW - 9 * MONTH), row(3))).new == 1
    found = asked(url, "SELECT attempt, cost, ended FROM attempts ORDER BY attempt")
    assert found == [(f"owner:{number}", 1_234, NOW) for number in (1, 2, 3)]


def test_writers_with_the_same_rows(url: str, opened: Callable[..., Database]) -> None:
    writers = [opened(url) for _ in range(4)]
    rows = [batch(*(row(number) for number in range(start, start + 50))) for start in (0, 20, 30, 10)]
    with ThreadPoolExecutor(len(writers)) as pool:
        stored = list(pool.map(lambda pair: pair[0].store(pair[1]).new, zip(writers, map(tuple, rows), strict=True)))
    assert sum(stored) == 80
    assert asked(url, "SELECT count(*), count(DISTINCT attempt) FROM attempts") == [(80, 80)]


def test_what_cannot_be_stored_does_not_keep_others_out(url: str, ledger: Database) -> None:
    rows = [dict(each) for each in batch(row(1), row(2), row(3), row(4))]
    rows[1]["cost"], rows[2]["tenant"] = 2**80, None
    new, refused = ledger.store(rows)
    assert (new, set(refused)) == (2, {1, 2})
    assert asked(url, "SELECT attempt FROM attempts ORDER BY attempt") == [("owner:1",), ("owner:4",)]
    assert not any("acme" in why or "req-" in why for why in refused.values())


def test_what_no_index_takes_does_not_keep_others_out(url: str, ledger: Database, caplog: LogCaptureFixture) -> None:
    """Incompressible, and past what a batch lets through."""
    dice = random.Random(1)
    long = "".join(chr(0x4E00 + dice.randrange(20_000)) for _ in range(6_000))
    rows = [dict(each) for each in batch(row(1), row(2))]
    rows[0]["tenant"] = long
    good = WorkerMinute(backend="gpu", worker="w1", gpu_kind="H100", gpus=1)
    minutes = [Minute(1, [replace(good, worker=long)]), Minute(2, [good]), Minute(3, [replace(good, gpus=2**70)])]
    new, refused = ledger.store(rows, minutes)
    stood = 0 if ledger.shared else 1
    assert (new, len(refused)) == (1 + stood, 1 - stood)
    assert asked(url, "SELECT count(*) FROM fleet_hours WHERE worker = 'w1'") == [(1,)]
    assert len([each for each in caplog.records if "left out" in each.getMessage()]) == 2 - stood


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE attempts SET cost = 0",
        "UPDATE attempts SET ended = 0 WHERE attempt = 'owner:1'",
        "DELETE FROM attempts",
    ],
)
def test_rows_are_immutable(url: str, ledger: Database, statement: str) -> None:
    ledger.store(batch(row(1)))
    with pytest.raises(DBAPIError, match="immutable"):
        told(url, statement)
    assert asked(url, "SELECT cost FROM attempts") == [(1_234,)]


def test_not_replaced_on_sqlite(sqlite_url: str, opened: Callable[..., Database]) -> None:
    opened(sqlite_url).store(batch(row(1)))
    told(sqlite_url, "INSERT OR REPLACE INTO attempts SELECT * FROM attempts")
    assert asked(sqlite_url, "SELECT attempt, cost FROM attempts") == [("owner:1", 1_234)]


GUARDED = [
    *(f"TRUNCATE {table}" for table in ("attempts", "attempts_2026_11", "attempts_other", "attempts_seen")),
    "DELETE FROM attempts_2026_11",
    "DELETE FROM attempts_seen",
    "UPDATE attempts_seen SET ended = 0",
]


@pytest.mark.parametrize("statement", GUARDED)
def test_no_part_is_changed_on_postgres(postgres_url: str, opened: Callable[..., Database], statement: str) -> None:
    opened(postgres_url).store(batch(row(1)))
    with pytest.raises(DBAPIError, match="immutable"):
        told(postgres_url, statement)


TEXT = st.one_of(
    st.text(max_size=30),
    st.sampled_from([SQL, "' OR '1'='1", '"; --', "%(tenant)s", ":tenant", "?", "{}", "\x00", "a\x00b", "\\", "$1"]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=15)
@given(tags=st.lists(TEXT, max_size=3), model=TEXT, pipeline=TEXT)
def test_texts_are_never_statements(ledger: Database, url: str, tags: list[str], model: str, pipeline: str) -> None:
    number = next(_numbers)
    sent = row(number, tags=tuple(tags), model=model, pipeline=pipeline)
    assert ledger.store(batch(sent)).refused == {}
    found = asked(url, f"SELECT model, pipeline FROM attempts WHERE attempt = 'owner:{number}'")
    assert (model.replace("\0", "\ufffd"), pipeline.replace("\0", "\ufffd")) in found
    assert asked(url, f"SELECT count(*) FROM attempts WHERE attempt = 'owner:{number}'") == [(1,)]


def test_opening_again_changes_nothing(url: str, ledger: Database, opened: Callable[..., Database]) -> None:
    ledger.store(batch(row(1)))
    assert ledger.open() == ledger.open() == NEWEST
    opened(url)
    assert asked(url, "SELECT count(*) FROM attempts") == [(1,)]


def test_many_start_at_once(url: str, opened: Callable[..., Database]) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: opened(url), range(4)))
    assert len(found) == 4
    assert asked(url, "SELECT version_num FROM alembic_version") == [(NEWEST,)]
    assert asked(url, "SELECT since FROM attempts_kept") == [(0,)]


def test_a_newer_schema_is_left_alone(url: str, ledger: Database) -> None:
    told(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(NewerSchema, match=f"has schema 9999, which a newer gateway made; this one knows {NEWEST}"):
        ledger.open()


def test_a_database_that_was_emptied_is_made_again(url: str, ledger: Database) -> None:
    told(url, "DROP TABLE attempts")
    told(url, "DROP TABLE alembic_version")
    told(url, "DROP TABLE attempts_kept")
    told(url, "DROP TABLE fleet_hours")
    if ledger.shared:
        told(url, "DROP TABLE attempts_seen")
        told(url, "DROP FUNCTION attempts_immutable")
    with pytest.raises(DatabaseFault):
        ledger.store(batch(row(1)))
    ledger.open()
    assert ledger.store(batch(row(1))).new == 1


def test_a_file_that_is_gone_gets_no_rows(sqlite_url: str, opened: Callable[..., Database], tmp_path: Path) -> None:
    database = opened(sqlite_url)
    for path in tmp_path.glob("ledger.db*"):
        path.unlink()
    with pytest.raises(DatabaseFault, match="the file is gone"):
        database.store(batch(row(1)))
    database.open()
    database.store(batch(row(1)))
    assert asked(sqlite_url, "SELECT count(*) FROM attempts") == [(1,)]
    assert (tmp_path / "ledger.db").stat().st_mode & 0o077 == 0


def test_a_fault_tells_no_password() -> None:
    database = Database("postgresql+psycopg://gateway:hunter2@127.0.0.1:1/ledger", 3, lambda: start_of(24_000))
    with pytest.raises(DatabaseFault) as told:
        database.open()
    assert "hunter2" not in str(told.value) + database.where
    assert database.where == "127.0.0.1:1/ledger"
    database.close()
