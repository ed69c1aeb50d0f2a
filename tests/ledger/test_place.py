"""Which database a setting means; what is not understood is refused without being quoted."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from gateway.errors import StartupFault
from gateway.ledger import place
from gateway.ledger.place import keeps_ledger, ledger_url
from gateway.settings import Settings

pytestmark = pytest.mark.usefixtures("ledger_kept")


def url_of(given: str) -> str:
    return ledger_url(Settings(ledger_url=SecretStr(given)))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("sqlite:////var/ledger.db", "sqlite:////var/ledger.db"),
        ("sqlite:///ledger.db", "sqlite:///ledger.db"),
        ("postgresql://u:p@db:5432/l", "postgresql+psycopg://u:p@db:5432/l"),
        ("postgres://db/l?sslmode=require", "postgresql+psycopg://db/l?sslmode=require"),
        ("postgresql+psycopg:///l?host=/run", "postgresql+psycopg:///l?host=/run"),
    ],
)
def test_understood(given: str, meant: str) -> None:
    assert url_of(given) == meant


@pytest.mark.parametrize(
    "given",
    [
        "",
        "secret",
        "mysql://u:secret@db/l",
        "sqlite://",
        "sqlite:///",
        "postgresql:/secret",
        "postgresql://u:secret@db:port/l",
    ],
)
def test_refused(given: str) -> None:
    with pytest.raises(StartupFault, match="GATEWAY_LEDGER_URL") as told:
        url_of(given)
    assert "secret" not in str(told.value)


def test_unset_it_is_a_file_of_the_data_folder(tmp_path: Path) -> None:
    assert ledger_url(Settings(data_dir=tmp_path)) == f"sqlite:///{tmp_path}/ledger.db"


def test_without_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "find_spec", lambda _: None)
    with pytest.raises(StartupFault, match="extra `postgres`"):
        url_of("postgresql://db/l")


def test_none_is_no_ledger() -> None:
    assert not keeps_ledger(Settings(ledger_url=SecretStr("none")))
    with pytest.raises(StartupFault, match="no ledger is kept"):
        url_of("none")
