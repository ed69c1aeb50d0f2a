"""Where the ledger is, from the settings. Imports no database: the serving process looks here too."""

from __future__ import annotations

from importlib.util import find_spec
from urllib.parse import urlsplit

from gateway.errors import StartupFault, extra
from gateway.settings import Settings

FILE, NONE = "ledger.db", "none"
SQLITE, POSTGRES = "sqlite", "postgresql+psycopg"
_POSTGRES_SCHEMES = ("postgresql", "postgres", POSTGRES)


def keeps_ledger(settings: Settings) -> bool:
    return settings.ledger_url is None or settings.ledger_url.get_secret_value() != NONE


def ledger_url(settings: Settings) -> str:
    """As SQLAlchemy takes it: `GATEWAY_LEDGER_URL`, else a SQLite file in the data folder. Raises StartupFault, which
    never quotes the URL: it may hold a password."""
    if not keeps_ledger(settings):
        raise StartupFault("no ledger is kept: GATEWAY_LEDGER_URL is `none`")
    if settings.ledger_url is None:
        return f"{SQLITE}:///{settings.data_dir.absolute() / FILE}"
    given = settings.ledger_url.get_secret_value()
    scheme, found, rest = given.partition("://")
    if scheme == SQLITE and found and len(rest) > 1 and rest.startswith("/"):
        return given
    if scheme in _POSTGRES_SCHEMES and found and _readable(given):
        if find_spec("psycopg") is None:
            raise StartupFault(
                f"GATEWAY_LEDGER_URL names PostgreSQL, whose driver is not installed: {extra('postgres')}"
            )
        return f"{POSTGRES}://{rest}"
    raise StartupFault(
        "GATEWAY_LEDGER_URL is not understood; use postgresql://user:password@host:port/database "
        "or sqlite:////path/to/ledger.db; docs/ledger.md has more"
    )


def _readable(url: str) -> bool:
    try:
        return urlsplit(url).port is None or True
    except ValueError:
        return False
