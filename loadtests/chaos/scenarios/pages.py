"""Workers whose metrics stand still, trail behind, are called otherwise, or lie."""

from __future__ import annotations

import time

from loadtests.chaos.scenario import scenario
from loadtests.chaos.site import API, Bench, Layout


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


LIES: tuple[dict[str, object], ...] = (
    {"show": "negative"},
    {"show": "nan"},
    {"show": "absurd"},
    {"show": "html"},
    {"show": "redirect"},
    {"show": "big"},
    {"show": "error"},
    {"delay_s": 3.0},
)


@scenario("metrics-rename", "Gauges under other names are unknown, not zero: nothing is lost, nothing spills for it.")
def metrics_rename(bench: Bench) -> None:
    site = bench.open()
    with site.load():
        time.sleep(3)  # replicas on an empty store give each other two seconds to write back
        bench.recovers_from()
        before = site.fleets[API].state(API)["received"]
        for name in ("w1", "w2", "w3"):
            site.fault(name, metrics={"rename": {"vllm:": "vllm2:"}})
        time.sleep(6)
    out = [name for name in ("w1", "w2", "w3") if site.out(name)]
    left = site.fleets[API].state(API)["received"] - before
    bench.expect(not out, f"out of traffic: {', '.join(out) or 'nobody'}")
    bench.expect(left == 0, f"{left} requests were bought")


@scenario("metrics-lie", "A worker's page lies in eight ways, one after the other: nobody else is harmed.")
def metrics_lie(bench: Bench) -> None:
    site = bench.open()
    with site.load():
        time.sleep(1)
        bench.recovers_from()
        for lie in LIES:
            site.fault("w1", metrics=lie)
            time.sleep(1.2)
            for honest in ("w2", "w3"):
                if why := site.out(honest):
                    raise TimeoutError(f"{honest} is out because {why}, while w1 shows {lie}")
        site.fault("w1", metrics=None)
        site.until(lambda: site.out("w1") is None, "w1 back in traffic")
