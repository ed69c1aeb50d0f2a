"""Reads the Prometheus text format of pages we scrape twice a second: only the lines asked for,
nothing allocated for the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ABSURD = 9e18
"""DCGM writes a value near 2**63 where a field is not supported; it means "not published"."""


class Sample(NamedTuple):
    name: str
    labels: Mapping[str, str]
    value: float


def samples(page: str, names: frozenset[str]) -> Iterator[Sample]:
    """Every sample of `page` whose metric is in `names`; a line that cannot be read is skipped, not guessed at."""
    for line in page.splitlines():
        name, brace, rest = line.partition("{")
        if not brace:
            name, _, rest = line.partition(" ")
        if name not in names:
            continue
        labels, _, value = rest.rpartition("}") if brace else ("", "", rest)
        try:
            number = float(value.split()[0])
        except (ValueError, IndexError):
            continue
        if number == number and abs(number) < _ABSURD:
            yield Sample(name, dict(_LABEL.findall(labels)), number)
