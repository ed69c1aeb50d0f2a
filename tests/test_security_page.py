"""docs/security.md names tests and settings: each is there, and every setting that bounds something has its row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from gateway.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))
BOUNDS = re.compile(r"_(seconds|bytes|pixels|floor|tenant)$|^fetches$")
NO_BOUND = {"otlp_seconds", "artefacts_floor", "jobs_longest_seconds"}
"""How often something is told; what jobs.md tells of."""


@pytest.mark.parametrize(("file", "name"), NAMED, ids=["::".join(filter(None, pair)) for pair in NAMED])
def test_every_test_that_is_named_is_there(file: str, name: str) -> None:
    text = (ROOT / file).read_text()
    assert re.search(rf"^(async )?def {name or 'test_'}", text, re.M)


def test_every_threat_and_every_limit_is_shown() -> None:
    tables = re.findall(r"^\| .*shown by \|\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.M)
    rows = [row for table in tables for row in table.splitlines()]
    assert len(rows) > 50
    for row in rows:
        shown = row.rstrip(" |").rpartition(" | ")[2]
        assert "tests/" in shown or shown == "libpq's own", row


def test_every_setting_that_bounds_something_has_its_row() -> None:
    limits = PAGE.partition("\n## Limits\n")[2].partition("\n## ")[0]
    told = set(re.findall(r"`GATEWAY_(\w+)`", limits))
    assert told == {name.upper() for name in Settings.model_fields if BOUNDS.search(name)} - {
        name.upper() for name in NO_BOUND
    } | {"RECEIPTS_HOURS"}
    assert set(re.findall(r"GATEWAY_(\w+)", PAGE)) <= {name.upper() for name in Settings.model_fields}


def test_settings_that_hold_secrets_do_not_show_them() -> None:
    """Those whose name says so are secrets; none of them shows in any form of the settings."""
    names = [
        name for name in Settings.model_fields if re.search(r"(_key|password|pepper|token|secret|_url|_headers)$", name)
    ]
    names = [name for name in names if name != "tls_key"]  # a path
    assert len(names) > 8
    given = {name: SecretStr(f"very-secret-value-{name}") for name in names}
    settings = Settings(**given)  # type: ignore[arg-type]
    for form in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert "very-secret-value" not in form
