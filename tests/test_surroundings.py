"""Which variables a process beside the serving one gets."""

from __future__ import annotations

import pytest

from gateway.surroundings import surroundings


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("PATH", True),
        ("LC_ALL", True),
        ("PYTHONPATH", True),
        ("LD_LIBRARY_PATH", True),
        ("PGPASSFILE", True),
        ("TZ", True),
        ("GATEWAY_KEY_PEPPER", False),
        ("GATEWAY_ADMIN_KEY", False),
        ("OPENAI_API_KEY", False),
        ("PATHS_KEY", False),
    ],
)
def test_what_finds_things_is_kept_and_no_key(name: str, kept: bool) -> None:
    assert surroundings({"GATEWAY_LEDGER_URL": "x"}, {name: "value"}) == {
        "GATEWAY_LEDGER_URL": "x",
        **({name: "value"} if kept else {}),
    }
