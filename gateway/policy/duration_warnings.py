"""Durations that were likely meant in milliseconds: a bare number is seconds. Yields warnings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway.policy.source import Fault, Path
from gateway.policy.sources import Sources

_WAIT, _BEGINNING = 600, 60
LONG_SECONDS: Final[Mapping[str, int]] = {
    **dict.fromkeys(
        ("max_wait", "starve_after", "first_byte", "idle", "slow_start", "window", "pause", "longest", "queued"), _WAIT
    ),
    **dict.fromkeys(("after", "connect", "dwell"), _BEGINNING),
    **dict.fromkeys(("total", "order"), 3600),
    "leeway": 300,
}
"""Key of a duration -> seconds past which a bare number is seldom meant. Ten minutes: the longest that any client waits
for an answer unless it is told to. A minute: nobody asks for a second attempt, or connects, so late. Five minutes: the
clocks of two services do not differ more."""


def duration_warnings(sources: Sources) -> Iterator[Fault]:
    """Of every duration in the files of rules, backends and tenants, wherever it stands."""
    for document in (sources.rules.document, sources.backends.document, sources.tenants.document):
        for path, value in _numbers(document.data, ()):
            if value > LONG_SECONDS[str(path[-1])]:
                short = f"{value / 1000:g}s"
                said = f"{value:g} is seconds; write {value:g}ms or {short}, or {value:g}s if you mean it"
                yield document.fault(path, said)


def _numbers(data: Any, path: Path) -> Iterator[tuple[Path, float]]:
    """Every bare number written as a duration within `data`."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data if isinstance(data, list) else ()):
        if key in LONG_SECONDS and isinstance(value, int | float):
            yield (*path, key), value
        yield from _numbers(value, (*path, key))
