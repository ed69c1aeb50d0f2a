"""Workers whose metrics stand still, trail behind, are called otherwise, or lie."""

from __future__ import annotations

import time

from loadtests.chaos.scenario import scenario
from loadtests.chaos.site import Bench, Layout


@scenario("metrics-freeze", "A metrics page that stands still changes nothing: leases are the truth.")
def metrics_freeze(bench: Bench) -> None:
    site = bench.open()
    with site.load():
        time.sleep(1)
        bench.recovers_from()
        for name in ("w1", "w2", "w3"):
            site.fault(name, freeze_metrics=True)
        time.sleep(6)


@scenario("metrics-lag", "Gauges six seconds old make no outside load out of our own past.")
def metrics_lag(bench: Bench) -> None:
    site = bench.open(Layout(worker={"gauge_lag_s": 6.0}))
    with site.load():
        bench.recovers_from()
        time.sleep(8)
