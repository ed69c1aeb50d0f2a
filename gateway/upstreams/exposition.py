"""Reads the Prometheus text format of pages we scrape all the time: finds the few lines asked for, and neither decodes
nor splits the rest.

The format puts all samples of one metric together, so each metric is one search for its first line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeVar

_LABEL = re.compile(rb'(?<!\w)(\w+)="((?:[^"\\]|\\.)*)"')
"""Tried at the first letter of a word only: tried at each, one long word takes the square of its length."""
_LONGEST_LABELS = 64 << 10
"""Bytes of all labels of one line; those of adapters list their names."""
_ABSURD = 9e18
"""DCGM writes a value near 2**63 where a field is not supported; it means "not published"."""
_MOST_REQUESTS = 1e6
"""No engine runs or queues as many: a gauge beyond it is a lie or an overflow."""
_MOST_TOKENS = 1e12
_OVERFULL = 1.01
"""A share may round to a little more than 1."""

_AFTER_NAME = (b"{", b" ", b"\t")
Labels = Mapping[str, str]
Where = Callable[[Labels], bool]
_Value = TypeVar("_Value")


class Sample(NamedTuple):
    name: str
    labels: Labels
    value: float


def samples(page: bytes, names: Iterable[str]) -> Iterator[Sample]:
    """Every sample of these metrics, one after another; a line that cannot be read is skipped, not guessed at."""
    for name in names:
        for labels, told in _lines(page, name.encode()):
            value = _number(told)
            if value is not None and abs(value) < _ABSURD:
                yield Sample(name, _labels(labels), value)


def _begin(page: bytes, name: bytes) -> int:
    """Where the first line of a metric begins; -1 where it has none."""
    size = len(name)
    if page.startswith(name) and page[size : size + 1] in _AFTER_NAME:
        return 0
    at = 0
    while (at := page.find(b"\n" + name, at) + 1) > 0:
        if page[at + size : at + size + 1] in _AFTER_NAME:  # else a longer name that begins alike
            return at
    return -1


def _lines(page: bytes, name: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(labels, the rest) of each line of one metric."""
    at, size = _begin(page, name), len(name)
    while at >= 0 and page.startswith(name, at) and page[at + size : at + size + 1] in _AFTER_NAME:
        end = page.find(b"\n", at)
        line = page[at + size : end if end >= 0 else len(page)]
        labels, _, value = line.rpartition(b"}") if line[:1] == b"{" else (b"", b"", line)
        yield labels, value
        at = end + 1 if end >= 0 else -1


def _labels(text: bytes) -> Labels:
    """None of a text that is longer than any engine's."""
    if len(text) > _LONGEST_LABELS:
        return {}
    return {key.decode(): value.decode("utf-8", "replace") for key, value in _LABEL.findall(text)}


def _number(text: bytes) -> float | None:
    """The value of a sample; None where it is none, or NaN."""
    try:
        value = float(text.split(None, 1)[0])
    except (ValueError, IndexError):
        return None
    return value if value == value else None


class Gauges:
    """The gauges of one page. What is asked for and is not there, or makes no sense (NaN, negative, absurd), is None
    and noted in `missing` under its first name."""

    def __init__(self, page: bytes) -> None:
        self._page = page
        self.missing: list[str] = []

    def count(self, *names: str, where: Where | None = None) -> int | None:
        """Requests, added up over the lines of the first of `names` that is there; only lines whose labels `where`
        takes. One bad line makes the sum unknown."""
        return self._noted(self._sum(names, where, _MOST_REQUESTS), names)

    def more(self, *names: str, where: Where | None = None) -> int | None:
        """As `count`, and nothing is missed where there is none."""
        return self._sum(names, where, _MOST_REQUESTS)

    def amount(self, *names: str, where: Where | None = None) -> int | None:
        """As `more`, of tokens or blocks."""
        return self._sum(names, where, _MOST_TOKENS)

    def share(self, *names: str, where: Where | None = None) -> float | None:
        """0 to 1: of several lines the fullest."""
        for name in names:
            found = [value for value in self._values(name, where) if value is not None and 0 <= value <= _OVERFULL]
            if found:
                return min(max(found), 1.0)
        return self._noted(None, names)

    def started(self) -> float | None:
        """When the process began, seconds since the epoch, as the official client libraries tell it."""
        found = [v for v in self._values("process_start_time_seconds", None) if v is not None and 0 < v < _ABSURD]
        return min(found) if found else None

    def labels(self, name: str) -> list[Labels]:
        """The labels of an info metric, of which the value says nothing."""
        return [_labels(labels) for labels, _ in _lines(self._page, name.encode())]

    def labelled(self, name: str) -> list[Sample]:
        return list(samples(self._page, (name,)))

    def _values(self, name: str, where: Where | None) -> list[float | None]:
        lines = _lines(self._page, name.encode())
        return [_number(told) for labels, told in lines if where is None or where(_labels(labels))]

    def _sum(self, names: Iterable[str], where: Where | None, most: float) -> int | None:
        for name in names:
            values = self._values(name, where)
            if values:
                sane = [value for value in values if value is not None and 0 <= value < most]
                return int(sum(sane)) if len(sane) == len(values) else None
        return None

    def _noted(self, value: _Value, names: Iterable[str]) -> _Value:
        if value is None:
            self.missing.append(next(iter(names)))
        return value
