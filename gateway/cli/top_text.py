"""The live feed as text: one frame of it, and the parts that the terminal shows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway.cli.budget import table
from gateway.console.live.history import OUTCOMES
from gateway.console.live.told import Told
from gateway.flow import NO_RULE

UNKNOWN = "-"
REFUSED_BEFORE = "no rule"
"""For requests that were refused before a rule was found: an unknown model, a wrong key."""
UNTOLD = "today: the ledger has not answered yet"
_BARS = " ▁▂▃▄▅▆▇█"
SPARK_MINUTES = 60
FLEET = {
    "name": "worker",
    "backend": "backend",
    "state": "state",
    "load": "load",
    "outside": "outside",
    "queue": "queue",
    "running": "running",
    "inflight": "leases",
    "kv": "kv",
    "gpu": "gpu",
    "gpu_kind": "gpus",
    "limit_s": "limit",
    "headroom": "room",
    "age_s": "age",
    "why": "why",
}
"""Column of the feed -> its heading."""
_PERCENT = frozenset({"load", "outside", "kv", "gpu", "headroom"})


def frame(told: Told) -> list[str]:
    """All of it, for scripts."""
    fleet = [tuple(FLEET.values()), *(cells(row) for row in told.rows.values())]
    return [*head(told), "", *rules(told), "", *table(fleet)]


def head(told: Told) -> list[str]:
    status, hello = told.last.get("status", {}), told.last.get("hello", {})
    words = [
        "ready" if status.get("ready") else "NOT READY",
        *(["DEGRADED: no store"] if status.get("degraded") else []),
    ]
    work = f"{status.get('in_flight', 0)} in flight, {status.get('queue', 0)} waiting"
    jobs = status.get("jobs_running", 0)
    first = f"gateway {hello.get('gateway', '?')}  {', '.join(words)}  {work}" + (f", {jobs} jobs" if jobs else "")
    return [first, *policy(told.last.get("policy")), *money(told.last.get("money")), *status.get("faults", ())]


def policy(told: Mapping[str, Any] | None) -> list[str]:
    if told is None:
        return []
    versions = sorted({row["version"] for row in told["replicas"]})
    number = len(told["replicas"])
    line = f"policy {', '.join(versions)} on {number} replica{'s' if number != 1 else ''}"
    tried = told["candidate"]
    if tried is not None:
        share = "in the shadow" if tried["mode"] == "shadow" else f"for {tried['share']:.4g} of the sessions"
        line += f"; on trial: {tried['version']} {share}"
    return [line + ("; THEY DIFFER" if told["differ"] else "")]


def money(told: Mapping[str, Any] | None) -> list[str]:
    if told is None:
        return [UNTOLD]
    spent = told["spent_usd"]
    parts = [
        f"bought {usd(spent['managed'])}{' (simulated)' if told['simulated'] else ''}",
        f"own GPUs {usd(spent['own'])}",
        f"saved {usd(told['saved_usd'])}",
    ]
    left = [f"{one['name']} {percent(one['left'])} left" for one in told["budgets"]]
    return [f"today {', '.join(parts)}" + (f"; budgets: {', '.join(left)}" if left else "")]


def rules(told: Told) -> list[str]:
    """A line for each rule that had requests in the last hour, or has an SLO."""
    latency: Mapping[str, Any] = told.last.get("latency", {}).get("rules", {})
    named = sorted({rule for minute in told.flow.values() for rule in minute} | latency.keys())
    heading = ("rule", *OUTCOMES, "p50 ms", "p95 ms", "slo ms", "met", "last hour")
    return table([heading, *(_rule(name, told, latency.get(name, {})) for name in named)])


def _rule(name: str, told: Told, latency: Mapping[str, Any]) -> tuple[str, ...]:
    counts, ttft = told.outcomes(name), latency.get("ttft_ms", {})
    numbers = [str(counts[outcome] or UNKNOWN) for outcome in OUTCOMES]
    figures = [number(ttft.get("p50")), number(ttft.get("p95")), number(latency.get("slo_ms"))]
    return (
        REFUSED_BEFORE if name == NO_RULE else name,
        *numbers,
        *figures,
        percent(latency.get("met")),
        spark(per_minute(told, name)),
    )


def per_minute(told: Told, rule: str) -> list[int]:
    """Requests of a rule, oldest minute first."""
    return [sum(told.flow[at].get(rule, {}).values()) for at in sorted(told.flow)][-SPARK_MINUTES:]


def spark(values: Sequence[float]) -> str:
    """One character each; the highest is full, and only nothing is blank."""
    most = max(values, default=0)
    steps = len(_BARS) - 1
    return "".join(_BARS[0] if value <= 0 else _BARS[max(1, round(value / most * steps))] for value in values)


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """A worker, in the order of FLEET."""
    return tuple(cell(row, column) for column in FLEET)


def cell(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    if column == "gpu_kind":
        return UNKNOWN if value is None else f"{row['gpus']} x {value}"
    if value is None:
        return "" if column == "why" else UNKNOWN
    if column in _PERCENT:
        return percent(value)
    if column in ("limit_s", "age_s"):
        return f"{value:g} s"
    return str(value)


def matching(rows: Iterable[Mapping[str, Any]], text: str) -> list[Mapping[str, Any]]:
    """Those with every word of `text` in their name, backend, state, reason or kind of GPU."""
    words = text.lower().split()
    return [row for row in rows if all(word in _searched(row) for word in words)]


def _searched(row: Mapping[str, Any]) -> str:
    return " ".join(str(row.get(name) or "") for name in ("name", "backend", "state", "why", "gpu_kind")).lower()


def order(row: Mapping[str, Any], column: str) -> tuple[bool, Any]:
    """To sort by: what is unknown comes last."""
    value = row.get(column)
    return value is None, value if value is not None else 0


def usd(amount: float | None) -> str:
    return UNKNOWN if amount is None else f"${amount:,.2f}" if abs(amount) >= 1 or not amount else f"${amount:.4f}"


def percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{share:.0%}"


def number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.0f}"
