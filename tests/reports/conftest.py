"""Ledgers on each kind of database. What only reads shares one per module."""

from __future__ import annotations

import itertools

import pytest

from gateway.ledger.place import ledger_url
from gateway.settings import Settings
from tests.ledger.conftest import postgres

__all__ = ["postgres"]
_names = itertools.count()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def url(ledger_kept: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of an empty database of each kind, for one module."""
    if request.param == "sqlite":
        return ledger_url(Settings(data_dir=tmp_path_factory.mktemp("ledger")))
    server = request.getfixturevalue("postgres")
    return ledger_url(Settings(ledger_url=server.create(f"reports{next(_names)}")))  # type: ignore[arg-type]
