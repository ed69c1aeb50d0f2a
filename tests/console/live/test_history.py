"""The last hour by rule: outcomes, quantiles, SLOs."""

from __future__ import annotations

from gateway.console.live.history import flow, latency, moved, window
from gateway.model import Slo

BUCKETS = (0.1, 0.2, 0.4)
HOUR = {
    0: {"chat": {"local": 3, "t0": 2, "t1": 1, "met": 3}, "-": {"refused": 1}},
    60: {},
    120: {"chat": {"local": 1, "spilled": 2, "t3": 1, "missed": 1}},
}


def test_outcomes_minute_by_minute() -> None:
    assert flow(HOUR, whole=True) == {
        "all": True,
        "minutes": [0, 60, 120],
        "rules": {"chat": {"local": [3, 0, 1], "spilled": [0, 0, 2]}, "-": {"refused": [1, 0, 0]}},
    }


def test_only_what_moved() -> None:
    assert moved(HOUR, {**HOUR, 60: {"chat": {"left": 1}}}) == {60: {"chat": {"left": 1}}}
    assert moved(HOUR, HOUR) == {}
    assert window(HOUR, [60, 120, 180]) == {60: {}, 120: HOUR[120], 180: {}}


def test_latency_beside_its_slo() -> None:
    told = latency(HOUR, BUCKETS, {"chat": Slo(ttft=0.3, target=0.9), "quiet": Slo(ttft=1.0), "free": Slo()})
    assert told["rules"].keys() == {"chat", "quiet", "-"}
    chat = told["rules"]["chat"]
    assert (chat["n"], chat["slo_ms"], chat["target"], chat["met"]) == (4, 300.0, 0.9, 0.75)
    assert chat["ttft_ms"] == {"p50": 100.0, "p95": 400.0, "p99": 400.0}
    assert chat["p95_by_minute"] == [185.0, None, 400.0]
    quiet = told["rules"]["quiet"]
    assert (quiet["n"], quiet["met"], quiet["ttft_ms"]["p95"]) == (0, None, None)
