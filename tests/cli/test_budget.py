"""`gateway budget`: what the table says."""

from __future__ import annotations

from gateway.cli.budget import HEAD, cells, table

ROW = {
    "name": "budget video",
    "unit": "usd",
    "per": "month",
    "hard": True,
    "cap": 300_000_000,
    "used": 12_410_001,
    "held": 0,
    "left": 287_589_999,
    "resets": "2026-12-01T00:00:00Z",
}
LIMIT = ROW | {"name": "key a/ci: concurrent", "unit": "concurrent", "per": "total", "cap": 4, "used": 0, "held": 4}
SOFT = ROW | {"hard": False, "left": -5, "resets": None}


def test_a_table() -> None:
    assert table([HEAD, cells(ROW), cells(LIMIT | {"left": 0, "resets": None}), cells(SOFT)]) == [
        "name                  per        cap        used   held         left  resets",
        "budget video          month  $300.00  $12.410001  $0.00  $287.589999  2026-12-01T00:00:00Z",
        "key a/ci: concurrent  total        4           0      4            0  never",
        "budget video (soft)   month  $300.00  $12.410001  $0.00   $-0.000005  never",
    ]
