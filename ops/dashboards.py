"""The Grafana dashboards of helm/gateway/files/dashboards, as rows of panels.

    python -m ops.dashboards

writes them anew; the suite compares. A panel is its title, its unit as Grafana calls it, and its queries with their
legends. Figures of the fleet are the same on every replica, so they are joined by `max`; counts add up. What is written
here is about one release: `selected` adds whose, so that two under one Prometheus never mix.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).resolve().parents[1] / "helm" / "gateway" / "files" / "dashboards"
WIDTH, TALL, SMALL = 24, 8, 4
"""Grafana's grid is 24 columns wide; heights of graphs and of single figures."""
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
WINDOW = "$__rate_interval"
RELEASE: Final = ("namespace", "job")
"""The labels that tell releases apart, which are the variables of each dashboard. Where Prometheus finds its targets
without Kubernetes no namespace is there to choose, and an empty one is what such figures match."""
METRIC: Final = re.compile(r"\b(gateway_\w+)(?:\{([^}]*)\})?")
BY_UPSTREAM = "max by (upstream)"
LEFT, COULD_STAY = 'outcome=~"spilled|fallback"', 'outcome=~"local|spilled|fallback"'
BOUGHT = 'basis=~"list|contract|reserved"'
MISSED, MET = 'met="no"', 'met="yes"'


@dataclass(frozen=True, slots=True)
class Panel:
    """`queries`: expression -> legend. `kind`: `timeseries`, or `stat` for one figure. `stacked`: areas that add up."""

    title: str
    unit: str
    queries: dict[str, str]
    kind: str = "timeseries"
    stacked: bool = False
    about: str = ""


@dataclass(frozen=True, slots=True)
class Board:
    name: str
    title: str
    rows: tuple[tuple[Panel, ...], ...]


def rate(metric: str, by: str = "", only: str = "") -> str:
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({metric}{{{only}}}[{WINDOW}]))" if only else f"sum{grouped} (rate({metric}[{WINDOW}]))"


def quantile(share: float, metric: str, by: str = "") -> str:
    return f"histogram_quantile({share:g}, {rate(f'{metric}_bucket', f'le, {by}' if by else 'le')})"


def spread(metric: str) -> dict[str, str]:
    return {quantile(share, metric): f"p{share * 100:g}" for share in (0.5, 0.9, 0.99)}


def stat(title: str, unit: str, query: str, about: str = "") -> Panel:
    return Panel(title, unit, {query: ""}, "stat", about=about)


def of_workers(title: str, unit: str, metric: str, about: str = "") -> Panel:
    return Panel(title, unit, {f"{BY_UPSTREAM} ({metric})": "{{upstream}}"}, about=about)


FLEET: Final = Board(
    "fleet",
    "Gateway: fleet",
    (
        (
            stat("Upstreams up", "none", "sum(max by (upstream) (gateway_upstream_up))"),
            stat("Out", "none", "count(max by (upstream) (gateway_upstream_up) == 0) or vector(0)"),
            stat("Drained", "none", "sum(max by (upstream) (gateway_upstream_drained))"),
            stat("GPU faults", "none", "sum(max by (upstream) (gateway_upstream_gpu_fault)) or vector(0)"),
        ),
        (
            of_workers(
                "Leased share", "percentunit", "gateway_upstream_leased_share", "1 is full: the next one waits."
            ),
            of_workers("Waiting in the worker", "none", "gateway_upstream_queue_depth"),
        ),
        (
            of_workers("KV cache", "percentunit", "gateway_upstream_kv_utilisation"),
            of_workers("GPU", "percentunit", "gateway_upstream_gpu_utilisation"),
        ),
        (
            of_workers("Limit of leased work", "s", "gateway_upstream_limit_seconds", "Learned; docs/limit.md."),
            of_workers("Load from elsewhere", "percentunit", "gateway_upstream_outside_share"),
        ),
        (
            of_workers("GPU memory", "bytes", "gateway_upstream_gpu_memory_used_bytes"),
            of_workers("GPU power", "watt", "gateway_upstream_gpu_power_watts"),
            of_workers("Hottest GPU", "celsius", "gateway_upstream_gpu_temperature_celsius"),
        ),
        (
            of_workers("Age of readings", "s", "gateway_upstream_reading_age_seconds"),
            of_workers("Headroom of bought APIs", "percentunit", "gateway_upstream_headroom"),
            Panel("Attempts", "reqps", {rate("gateway_attempts_total", "result"): "{{result}}"}, stacked=True),
        ),
    ),
)
SPILL: Final = Board(
    "spill",
    "Gateway: spill and money",
    (
        (
            stat(
                "Bought of what could stay",
                "percentunit",
                f"({rate('gateway_requests_total', only=LEFT)}) / ({rate('gateway_requests_total', only=COULD_STAY)})",
            ),
            stat(
                "Bought, $ an hour",
                "currencyUSD",
                f"3600 * {rate('gateway_cost_usd_total', only=BOUGHT)}",
            ),
            stat(
                "Bought, last day",
                "currencyUSD",
                'sum(increase(gateway_cost_usd_total{basis=~"list|contract|reserved"}[1d]))',
            ),
            stat("Least budget left", "percentunit", "min(gateway_budget_left_ratio)"),
        ),
        (
            Panel(
                "Where requests went", "reqps", {rate("gateway_requests_total", "outcome"): "{{outcome}}"}, stacked=True
            ),
            Panel(
                "Kept at home by a bound",
                "reqps",
                {rate("gateway_spill_kept_total", "rule, bound"): "{{rule}} {{bound}}"},
            ),
        ),
        (
            Panel("Share of a rule that left", "percentunit", {"max by (rule) (gateway_spill_share)": "{{rule}}"}),
            Panel("Budgets left", "percentunit", {"min by (budget) (gateway_budget_left_ratio)": "{{budget}}"}),
        ),
        (
            Panel(
                "$ an hour",
                "currencyUSD",
                {f"3600 * {rate('gateway_cost_usd_total', 'backend, basis')}": "{{backend}} {{basis}}"},
                stacked=True,
            ),
            Panel(
                "Tokens",
                "none",
                {rate("gateway_tokens_total", "backend, direction"): "{{backend}} {{direction}}"},
                stacked=True,
            ),
        ),
        (
            Panel(
                "Sent away by a limit", "reqps", {rate("gateway_rate_limited_total", "of, limit"): "{{of}} {{limit}}"}
            ),
            Panel(
                "Usage that cannot be true", "none", {rate("gateway_usage_absurd_total", "upstream"): "{{upstream}}"}
            ),
        ),
    ),
)
LATENCY: Final = Board(
    "latency",
    "Gateway: latency and SLO",
    (
        (
            stat(
                "Within SLO, last hour",
                "percentunit",
                'sum(rate(gateway_slo_total{met="yes"}[1h])) / sum(rate(gateway_slo_total[1h]))',
            ),
            stat("In flight", "none", "sum(gateway_requests_in_flight)"),
            stat("First byte, p90", "s", quantile(0.9, "gateway_ttft_seconds")),
            stat("Waited, p90", "s", quantile(0.9, "gateway_queue_seconds")),
        ),
        (
            Panel("First byte", "s", spread("gateway_ttft_seconds")),
            Panel("Last byte", "s", spread("gateway_duration_seconds")),
        ),
        (
            Panel("Waited for room", "s", spread("gateway_queue_seconds")),
            Panel(
                "Missed its SLO",
                "percentunit",
                {f"{rate('gateway_slo_total', 'rule', MISSED)} / {rate('gateway_slo_total', 'rule')}": "{{rule}}"},
            ),
        ),
        (
            Panel("Errors of ours", "reqps", {rate("gateway_errors_total", "code"): "{{code}}"}, stacked=True),
            Panel(
                "Second attempts",
                "reqps",
                {
                    rate("gateway_retries_total", "result"): "retry {{result}}",
                    rate("gateway_hedges_total", "outcome"): "hedge {{outcome}}",
                    rate("gateway_rescues_total", "outcome"): "rescue {{outcome}}",
                },
            ),
        ),
        (
            Panel(
                "Error of estimates, median",
                "percentunit",
                {quantile(0.5, "gateway_estimate_error_ratio", "what"): "{{what}}"},
            ),
            Panel(
                "What experience multiplies limits by",
                "none",
                {"max by (backend, model) (gateway_limit_scale)": "{{backend}} {{model}}"},
            ),
        ),
    ),
)
INTERNALS: Final = Board(
    "internals",
    "Gateway: internals",
    (
        (
            stat("Processes", "none", "sum(gateway_processes)"),
            stat("Store away", "none", "max(gateway_degraded)"),
            stat("Policy fault", "none", "max(gateway_policy_fault)"),
            stat("Versions in force", "none", 'count(count by (version) (gateway_policy_info{role="in_force"}))'),
        ),
        (
            Panel("Own time before the upstream was asked", "s", spread("gateway_overhead_seconds")),
            Panel("In flight", "none", {"sum by (instance) (gateway_requests_in_flight)": "{{instance}}"}),
        ),
        (
            Panel("asyncio tasks", "none", {"sum by (instance) (gateway_tasks)": "{{instance}}"}),
            Panel("In line", "none", {"sum by (backend) (gateway_waiting)": "{{backend}}"}),
        ),
        (
            Panel("Ledger: seconds behind", "s", {"max(gateway_ledger_lag_seconds)": "lag"}),
            Panel(
                "Books that were lost or set aside",
                "none",
                {
                    "max(gateway_ledger_refused_rows)": "ledger rows set aside",
                    "sum(increase(gateway_ledger_dropped_total[1h]))": "ledger rows lost in the hour",
                    "sum(increase(gateway_receipts_dropped_total[1h]))": "receipts lost in the hour",
                },
            ),
        ),
        (
            Panel(
                "Jobs that ended",
                "none",
                {f"60 * {rate('gateway_jobs_total', 'end')}": "{{end}} a minute"},
                stacked=True,
            ),
            Panel("Jobs worked on", "none", {"sum(gateway_jobs_running)": "running"}),
            Panel("Audit entries", "none", {rate("gateway_audit_entries_total", "what"): "{{what}} a second"}),
        ),
        (
            Panel(
                "Refused before a request was read", "reqps", {rate("gateway_refused_total", "status"): "{{status}}"}
            ),
            Panel(
                "Breakers",
                "none",
                {"max by (upstream) (gateway_upstream_breaker)": "{{upstream}}"},
                about="0 closed, 1 half open, 2 open.",
            ),
            Panel(
                "Telemetry that did not reach the collector",
                "none",
                {
                    rate("gateway_exports_failed_total", "signal"): "batches of {{signal}}",
                    rate("gateway_spans_dropped_total", "reason"): "spans, {{reason}}",
                },
            ),
        ),
    ),
)
BOARDS: Final = (FLEET, SPILL, LATENCY, INTERNALS)


def made(board: Board) -> dict[str, Any]:
    """As Grafana 12 reads it."""
    return {
        "uid": f"gateway-{board.name}",
        "title": board.title,
        "tags": ["gateway"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": list(_variables())},
        "links": [{"title": "Gateway", "type": "dashboards", "tags": ["gateway"], "asDropdown": True}],
        "panels": list(_panels(board)),
    }


def selected(query: str) -> str:
    """With the release's labels on each of our metrics."""

    def add(found: re.Match[str]) -> str:
        return f"{found[1]}{{{', '.join([_matchers(RELEASE), *filter(None, [found[2]])])}}}"

    return METRIC.sub(add, query)


def _matchers(labels: Sequence[str]) -> str:
    return ", ".join(f'{label}="${label}"' for label in labels)


def _variables() -> Iterator[dict[str, Any]]:
    """Each is chosen among what is there under those before it; the first one found is shown."""
    yield {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    for at, label in enumerate(RELEASE):
        yield {
            "name": label,
            "type": "query",
            "datasource": SOURCE,
            "query": f"label_values(gateway_processes{{{_matchers(RELEASE[:at])}}}, {label})",
            "refresh": 2,  # whenever the time shown changes
            "sort": 1,
        }


def _panels(board: Board) -> Iterator[dict[str, Any]]:
    number, y = 1, 0
    for row in board.rows:
        height = SMALL if row[0].kind == "stat" else TALL
        width = WIDTH // len(row)
        for column, panel in enumerate(row):
            at = {"h": height, "w": width, "x": column * width, "y": y}
            yield {"id": number, "gridPos": at, **_panel(panel)}
            number += 1
        y += height


def _panel(panel: Panel) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": selected(query), "legendFormat": legend or "__auto"}
        for i, (query, legend) in enumerate(panel.queries.items())
    ]
    drawn: dict[str, Any] = {"fillOpacity": 10, "showPoints": "never"}
    if panel.stacked:
        drawn = {"fillOpacity": 40, "showPoints": "never", "stacking": {"mode": "normal"}}
    defaults = {"unit": panel.unit, "min": 0, **({"custom": drawn} if panel.kind == "timeseries" else {})}
    return {
        "type": panel.kind,
        "title": panel.title,
        **({"description": panel.about} if panel.about else {}),
        "datasource": SOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
    }


def written(board: Board) -> str:
    return json.dumps(made(board), indent=1) + "\n"


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for board in BOARDS:
        (FOLDER / f"{board.name}.json").write_text(written(board))


if __name__ == "__main__":
    main()
