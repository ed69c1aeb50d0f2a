"""Clients that leave in masses."""

from __future__ import annotations

import time

from loadtests.chaos.scenario import scenario
from loadtests.chaos.score import Promise
from loadtests.chaos.site import Bench
from loadtests.chaos.traffic import Shape


@scenario(
    "disconnect-storm",
    "Two of three clients hang up early: their work stops at the workers, no lease stays.",
    Promise(served=0.25),
    fast=True,
)
def disconnect_storm(bench: Bench) -> None:
    site = bench.open()
    with site.load(Shape(rate=80.0, leave=0.67, tokens=100, flagged=0.1)):
        bench.recovers_from()
        time.sleep(6)
    held = sum(site.fleets[name].state(name)["running"] for name in ("w1", "w2", "w3"))
    bench.expect(held == 0, f"{held} sequences run on at the workers")
