"""The gateway's own machine: its clock jumps, its descriptors run out."""

from __future__ import annotations

import time
from pathlib import Path

from loadtests.chaos.scenario import scenario
from loadtests.chaos.score import Promise
from loadtests.chaos.site import Bench, Layout
from loadtests.chaos.traffic import Shape

CLOCK = Path(__file__).resolve().parents[1] / "clock"
"""Holds a `sitecustomize` that adds to `time.time()` what a file says."""


@scenario(
    "clock-jump",
    "One replica's wall clock jumps an hour ahead, then two hours back: leases, circuits and answers go on.",
)
def clock_jump(bench: Bench) -> None:
    offset = bench.place / "offset"
    offset.write_text("0")
    site = bench.open(Layout(replicas=1))
    site.start_gateway("g2", PYTHONPATH=str(CLOCK), CHAOS_CLOCK=str(offset))
    with site.load():
        time.sleep(2)
        bench.recovers_from()
        for jump in ("3600", "-3600", "0"):
            offset.write_text(jump)
            time.sleep(2)


@scenario(
    "descriptors",
    "A gateway without a free descriptor refuses what it cannot hold and recovers when clients leave.",
    Promise(refused=None, lost=400, served=0.4),
)
def descriptors(bench: Bench) -> None:
    site = bench.open(Layout(replicas=1))
    site.traffic.burst(16, Shape())
    site.limit_files("g1", 24)
    for _ in range(3):
        site.traffic.burst(100, Shape(flagged=0.0))
    time.sleep(1)
    bench.recovers_from()
    with site.load(Shape(rate=30.0)):
        time.sleep(7)
