"""The gateway's own /metrics page, read back as rows: what the demo's status and the load test's picture show."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import httpx
from prometheus_client.parser import text_string_to_metric_families

PROCESS = {
    "gateway_processes",
    "gateway_requests_in_flight",
    "gateway_tasks",
    "gateway_receipts_dropped_total",
}


@dataclass(slots=True)
class FleetPage:
    """`upstreams`: (backend, upstream) -> reading name without prefix -> value; missing is unknown.
    `outcomes`: outcome -> requests so far. `cost`: (backend, basis) -> USD so far.
    `process`: what the process says of itself, by full name."""

    upstreams: dict[tuple[str, str], dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    outcomes: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    cost: dict[tuple[str, str], float] = field(default_factory=dict)
    process: dict[str, float] = field(default_factory=dict)
    degraded: bool = False
    policy_fault: bool = False


def read(client: httpx.Client) -> FleetPage:
    """Raises httpx.HTTPError where the gateway does not answer."""
    return parse(client.get("/metrics").raise_for_status().text)


def parse(text: str) -> FleetPage:
    page = FleetPage()
    for family in text_string_to_metric_families(text):
        for name, labels, value, *_ in family.samples:
            if name.startswith("gateway_upstream_"):
                page.upstreams[labels["backend"], labels["upstream"]][name.removeprefix("gateway_upstream_")] = value
            elif name == "gateway_requests_total":
                page.outcomes[labels["outcome"]] += value
            elif name == "gateway_cost_usd_total":
                page.cost[labels["backend"], labels["basis"]] = value
            elif name in PROCESS:
                page.process[name] = value
            elif name == "gateway_degraded":
                page.degraded = bool(value)
            elif name == "gateway_policy_fault":
                page.policy_fault = bool(value)
    return page
