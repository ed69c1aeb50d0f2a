"""What is looked at while the load runs: the gateway from outside, and its word against the truth."""

from __future__ import annotations

import json
from dataclasses import dataclass

import httpx

from loadtests import fleet_page
from loadtests.bench import proc
from loadtests.soak.site import BACKENDS, Site

LOUD = {"error", "critical"}
BANNER = "gateway on "
"""How the one line begins that is not JSON."""


@dataclass(frozen=True, slots=True)
class Sample:
    """`at`: seconds since the load began. Memory in bytes of PSS; `worst`: of the largest gateway process; `heap`:
    without mapped files, of which a process has a smaller share the more others map them.

    `processes` serve, as /metrics says. `leased` is the store's own truth, `shown` what /metrics says, `held` what the
    simulated servers are busy with.
    """

    at: float
    sent: int
    active: int
    processes: int
    memory: int
    worst: int
    heap: int
    store_memory: int
    descriptors: int
    tasks: int
    leased: int
    shown: int
    held: int
    dropped: int
    loud: int
    cpu_seconds: float

    @property
    def quiet(self) -> bool:
        return not (self.leased or self.shown or self.held)


class Watch:
    """Takes samples of a site; blocks for some milliseconds each."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._client = httpx.Client(base_url=site.gateway.url, trust_env=False, timeout=10.0)

    def close(self) -> None:
        self._client.close()

    def sample(self, at: float, sent: int = 0, active: int = 0) -> Sample:
        """Raises OSError or httpx.HTTPError where the gateway has ended."""
        leased, states = self._site.leases(), self._site.fleet.states().values()
        page = fleet_page.read(self._client)
        own, stores = proc.split_store(proc.tree(self._site.gateway.pid))
        sizes = [proc.pss_bytes([pid]) for pid in own]
        return Sample(
            at=at,
            sent=sent,
            active=active,
            processes=int(page.process["gateway_processes"]),
            memory=sum(sizes),
            worst=max(sizes),
            heap=proc.pss_bytes(own, "Pss_Anon"),
            store_memory=proc.pss_bytes(stores),
            descriptors=proc.descriptors(own),
            tasks=int(page.process["gateway_tasks"]),
            leased=leased,
            shown=int(sum(row["leases"] for (name, _), row in page.upstreams.items() if name in BACKENDS)),
            held=sum(state["received"] - sum(state["outcomes"].values()) for state in states),
            dropped=int(page.process["gateway_receipts_dropped_total"]),
            loud=len(loud_lines(self._site.log.read_text())),
            cpu_seconds=proc.cpu_seconds([*own, *stores]),
        )


def loud_lines(log: str) -> list[str]:
    """Lines that tell of a fault of the gateway's own: errors, and whatever is not a line of its log."""
    return [line for line in log.splitlines() if line and not line.startswith(BANNER) and _is_loud(line)]


def _is_loud(line: str) -> bool:
    try:
        return json.loads(line)["level"] in LOUD
    except (ValueError, KeyError, TypeError):
        return True
