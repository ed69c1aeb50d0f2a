"""Synthetic runs: results, samples and a whole story, without sending anything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from gateway.model import Price
from loadtests.load import slo, tally
from loadtests.load.plan import Result
from loadtests.load.prepare import Prepared, prepare
from loadtests.load.sampler import Sample
from loadtests.load.story import Story, assemble

MODEL = "llama-3.3-70b"
PRICE = Price.of(input_per_1m=1.0, output_per_1m=2.0)
SECONDS = 135.0
HONEST = {"void": False, "reasons": [], "step_late_p99_ratio": 0.01}
SETTINGS = {"fleet": "4 workers", "lengths": "synthetic <b>", "scaled": "not", "seed": 1, "load": "open loop"}
SETTINGS |= {"target": "a demo"}
RAMP = replace(prepare("ramp", seed=1, seconds=SECONDS), price=PRICE)


def result(due: float, **more: Any) -> Result:
    """An answer from a local worker after 0.1 s, unless told otherwise."""
    usual = {"began": due, "first": due + 0.1, "ended": due + 5.0, "status": 200, "outcome": "local"}
    usual |= {"stream": True, "flagged": False, "prompt": 1000, "output": 100}
    return msgspec.convert({"due": due, **usual, **more}, Result)


def results(peak_share: float = 0.5) -> list[Result]:
    """Four a second; at the peak every so many is spilled."""
    found = []
    for phase in RAMP.plan.phases:
        count = int((phase.end - phase.start) * 4)
        for i in range(count):
            due = phase.start + i / 4
            spilled = phase.name == "peak" and i < peak_share * count
            more: dict[str, Any] = {"outcome": "spilled", "reason": "slo_limit", "first": due + 0.5} if spilled else {}
            found.append(result(due, flagged=not spilled and i % 10 == 0, **more))
    return found


def samples(leases: float = 0.0) -> list[Sample]:
    """Two processes that take half a core and a quarter; one page that did not come; so many leases at the end."""
    found = [
        Sample(t, queue=1, running=20, leases=leases, seats=0.5, work=0.4, gpu=0.6, cpu={"locust": 0.5 * t, "b": t / 4})
        for t in range(int(SECONDS))
    ]
    found[60] = Sample(60.0, cpu=found[60].cpu)
    return found


def story(
    sent: list[Result] | None = None,
    honesty: dict[str, Any] | None = HONEST,
    bought: int | None = None,
    *,
    leases: float = 0.0,
    prepared: Prepared = RAMP,
    lost: int = 0,
) -> Story:
    """`lost`: requests without a result."""
    sent = results() if sent is None else sent
    found = tally.evidence(sent, len(sent) + lost, bought, honesty)
    return assemble(prepared, slo.read(), SETTINGS, sent, samples(leases), found)
