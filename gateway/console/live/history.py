"""The last hour for people: outcomes and latencies by rule and minute. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway.flow import MET, MISSED, Minute
from gateway.instruments import quantile
from gateway.model import Slo

OUTCOMES = ("local", "spilled", "fallback", "managed", "refused", "failed", "left")
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
TELLING = 0.95
"""The one that is told minute by minute."""
_MS = 1000.0
Minutes = Mapping[int, Minute]


def flow(minutes: Minutes, *, whole: bool) -> dict[str, Any]:
    """Outcomes minute by minute; one that a rule had in none of these minutes is left out, so a minute that is told
    replaces what was known of it."""
    order = sorted(minutes)
    rules: dict[str, dict[str, list[int]]] = {}
    for name in sorted({rule for minute in minutes.values() for rule in minute}):
        each = [minutes[at].get(name, {}) for at in order]
        found = {outcome: [words.get(outcome, 0) for words in each] for outcome in OUTCOMES}
        rules[name] = {outcome: counts for outcome, counts in found.items() if any(counts)}
    return {"all": whole, "minutes": order, "rules": {name: row for name, row in rules.items() if row}}


def moved(before: Minutes, after: Minutes) -> dict[int, Minute]:
    """The minutes of `after` that are not as they were."""
    return {at: minute for at, minute in after.items() if before.get(at) != minute}


def latency(minutes: Minutes, buckets: Sequence[float], slos: Mapping[str, Slo]) -> dict[str, Any]:
    """`buckets` in seconds. A rule without a first byte in the hour is told too, where it has an SLO."""
    order = sorted(minutes)
    named = {rule for minute in minutes.values() for rule in minute}
    return {
        "all": True,
        "rules": {
            name: _of_rule([minutes[at].get(name, {}) for at in order], order, buckets, slos.get(name))
            for name in sorted(named | {name for name, slo in slos.items() if slo.ttft is not None})
        },
    }


def _of_rule(
    each: Sequence[Mapping[str, int]], order: Sequence[int], buckets: Sequence[float], slo: Slo | None
) -> dict[str, Any]:
    hour: Counter[str] = Counter()
    for words in each:
        hour.update(words)
    met, missed = hour[MET], hour[MISSED]
    counts = _histogram(hour, len(buckets))
    told = [_ms(quantile(_histogram(words, len(buckets)), buckets, TELLING)) for words in each]
    return {
        "n": sum(counts),
        "ttft_ms": {name: _ms(quantile(counts, buckets, share)) for name, share in QUANTILES.items()},
        "slo_ms": None if slo is None or slo.ttft is None else slo.ttft * _MS,
        "target": None if slo is None else slo.target,
        "met": None if not met + missed else round(met / (met + missed), 4),
        "minutes": list(order),
        "p95_by_minute": told,
    }


def window(minutes: Minutes, last: Iterable[int]) -> dict[int, Minute]:
    """Exactly the minutes `last`; one that is not known is empty."""
    return {at: minutes.get(at, {}) for at in last}


def _histogram(words: Mapping[str, int], buckets: int) -> list[int]:
    return [words.get(f"t{number}", 0) for number in range(buckets + 1)]


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * _MS, 1)
