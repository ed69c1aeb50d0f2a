"""An empty ledger on each kind of database; PostgreSQL where its binaries are installed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.ledger.database import Database
from gateway.ledger.place import ledger_url
from gateway.settings import Settings
from loadtests.ledgerbench.postgres import Postgres, binaries, started
from tests.ledger.rows import NOW

KEEP_MONTHS = 3
NEWEST = "0002"
"""The revision that this gateway writes."""
_names = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    tools = binaries()
    if tools is None:
        pytest.skip("PostgreSQL is not installed")
    with started(tools) as server:
        yield server


@pytest.fixture
def sqlite_url(ledger_kept: None, tmp_path: Path) -> str:
    return ledger_url(Settings(data_dir=tmp_path))


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    return ledger_url(Settings(ledger_url=postgres.create(f"ledger{next(_names)}")))  # type: ignore[arg-type]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """Of an empty database of each kind."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
def opened() -> Iterator[Callable[..., Database]]:
    """Makes ledgers that are closed at the end; their clock stands at NOW unless told otherwise."""
    made: list[Database] = []

    def make(url: str, now: Callable[[], int] = lambda: NOW, *, keep_months: int = KEEP_MONTHS) -> Database:
        database = Database(url, keep_months, now)
        made.append(database)
        database.open()
        return database

    yield make
    for each in made:
        each.close()


@pytest.fixture
def ledger(url: str, opened: Callable[..., Database]) -> Database:
    """With its schema."""
    return opened(url)
