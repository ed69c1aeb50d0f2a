"""The Prometheus text format, as prometheus_client and the engines' other libraries print it."""

from __future__ import annotations

from collections.abc import Mapping

from .metrics import Histogram

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def braces(labels: Mapping[str, str]) -> str:
    """Labels in alphabetical order, as prometheus_client prints them; nothing for none."""
    if not labels:
        return ""
    return "{" + ",".join(f'{key}="{value.translate(_ESCAPES)}"' for key, value in sorted(labels.items())) + "}"


class Sheet:
    """A page under construction: `prefix` begins every name, `labels` are on every sample."""

    def __init__(self, prefix: str = "", labels: Mapping[str, str] | None = None) -> None:
        self._prefix = prefix
        self._labels = dict(labels or {})
        self._lines: list[str] = []
        self._told: set[str] = set()

    def gauge(self, name: str, value: float, **labels: str) -> None:
        self._add(name, name, "gauge", value, labels)

    def counter(self, name: str, value: float, **labels: str) -> None:
        self._add(name, name, "counter", value, labels)

    def histogram(self, name: str, histogram: Histogram, **labels: str) -> None:
        total = 0
        for edge, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
            total += count
            le = "+Inf" if edge == float("inf") else repr(float(edge))
            self._add(name, f"{name}_bucket", "histogram", total, {**labels, "le": le})
        self._add(name, f"{name}_count", "histogram", total, labels)
        self._add(name, f"{name}_sum", "histogram", histogram.sum, labels)

    def text(self) -> bytes:
        return ("\n".join(self._lines) + "\n").encode()

    def _add(self, family: str, name: str, kind: str, value: float, labels: Mapping[str, str]) -> None:
        if family not in self._told:
            self._told.add(family)
            self._lines += (f"# HELP {self._prefix}{family} Simulated.", f"# TYPE {self._prefix}{family} {kind}")
        self._lines.append(f"{self._prefix}{name}{braces({**self._labels, **labels})} {float(value)!r}")
