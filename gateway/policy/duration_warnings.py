"""Waits that were likely meant in milliseconds: a bare number is seconds. Yields warnings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.policy.source import Fault, Path
from gateway.policy.sources import Sources

LONG_SECONDS = 600
"""Ten minutes: the longest that any client waits for an answer unless it is told to."""


def duration_warnings(sources: Sources) -> Iterator[Fault]:
    """Of every `max_wait`, wherever it stands."""
    document = sources.rules.document
    for path, value in _waits(document.data, ()):
        if value > LONG_SECONDS:
            short = f"{value / 1000:g}s"
            said = f"{value:g} is seconds; write {value:g}ms or {short}, or {value:g}s if you mean it"
            yield document.fault(path, said)


def _waits(data: Any, path: Path) -> Iterator[tuple[Path, float]]:
    """Every bare number written as `max_wait` within `data`."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data if isinstance(data, list) else ()):
        if key == "max_wait" and isinstance(value, int | float):
            yield (*path, key), value
        yield from _waits(value, (*path, key))
