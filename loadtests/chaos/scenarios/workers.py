"""Workers that die, hang, are slow, or come and go."""

from __future__ import annotations

import time

from loadtests.chaos.scenario import scenario
from loadtests.chaos.score import Promise
from loadtests.chaos.site import API, Bench, Layout
from loadtests.chaos.traffic import Shape

MOST_TO_A_BLACK_HOLE = 25
"""Two replicas find out by three failures each, then one tries it after 1, 2, 4 s; retries of the burst come on top."""
NOT_NOTICED = 10
"""Requests that a third of 40 a second are in the 0.75 s between two looks at a worker."""
HASTY = {"timeouts": {"first_byte": "1s", "idle": "2s"}}
"""A worker that says nothing for so long is asked no more: what a rule for chat sets."""


@scenario(
    "worker-kill",
    "SIGKILL of a worker costs no request that had not sent a byte; streams it held are told.",
    fast=True,
)
def worker_kill(bench: Bench) -> None:
    site = bench.open()
    with site.load():
        time.sleep(2)
        site.kill_worker("w1")
        bench.recovers_from()
        time.sleep(3)
        site.start_worker("w1")
        back = site.until(lambda: site.fleets["w1"].state("w1")["running"] > 0, "traffic on the worker that is back")
        bench.notes.append(f"back in traffic {back:.1f} s after its start")
        time.sleep(1)


@scenario(
    "worker-hang",
    "A worker that stops answering (SIGSTOP) is left alone; its requests are served elsewhere. What its socket held "
    "when it froze it may still do when it wakes.",
    Promise(repeated=20),
)
def worker_hang(bench: Bench) -> None:
    site = bench.open(Layout(route=HASTY))
    with site.load():
        time.sleep(2)
        site.freeze("w1")
        bench.recovers_from()
        time.sleep(6)
        site.thaw("w1")
        time.sleep(3)


@scenario("worker-slow", "A worker ten times as slow takes the load it can bear; nothing is lost.")
def worker_slow(bench: Bench) -> None:
    site = bench.open(Layout(route=HASTY))
    with site.load():
        time.sleep(2)
        site.fault("w1", slow=10.0)
        bench.recovers_from()
        before = {name: site.fleets[name].state(name)["received"] for name in site.fleets if name != API}
        time.sleep(5)
        taken = {name: site.fleets[name].state(name)["received"] - count for name, count in before.items()}
        others = (taken["w2"] + taken["w3"]) / 2
        bench.expect(taken["w1"] < others / 2, f"it took {taken['w1']} requests, the others {others:.0f} each")
        site.fault("w1", clear=True)
        time.sleep(2)


@scenario("worker-flap", "A worker that dies and returns six times in ten seconds costs nobody an answer.")
def worker_flap(bench: Bench) -> None:
    site = bench.open()
    with site.load():
        time.sleep(1)
        for _ in range(6):
            site.kill_worker("w1")
            bench.recovers_from()
            time.sleep(0.8)
            site.start_worker("w1")
            time.sleep(0.4)
        time.sleep(5.5)


@scenario("worker-errors", "A worker that answers every request with 500 at once attracts no traffic.")
def worker_errors(bench: Bench) -> None:
    site = bench.open()
    with site.load():
        time.sleep(1)
        site.fault("w1", error_rate=1.0)
        bench.recovers_from()
        before = site.fleets["w1"].state("w1")["received"]
        time.sleep(5)
        taken = site.fleets["w1"].state("w1")["received"] - before
        bench.expect(taken < MOST_TO_A_BLACK_HOLE, f"{taken} of some 200 requests went there in 5 s")
        site.fault("w1", clear=True)
        time.sleep(3)


@scenario(
    "fleet-restart",
    "Every worker is killed and started again at once: what may leave does, the rest is told to come again (503 with "
    "Retry-After); no count is left over. A worker that is back may hold what was sent there before that was noticed, "
    "and a request that was on all three as they died has nobody left to ask (502).",
    Promise(refused=None, lost=2, over_admitted=NOT_NOTICED),
)
def fleet_restart(bench: Bench) -> None:
    site = bench.open(Layout(route={"attempts": 6}))
    with site.load():
        time.sleep(2)
        for name in ("w1", "w2", "w3"):
            site.kill_worker(name)
        for name in ("w1", "w2", "w3"):
            site.start_worker(name)
        bench.recovers_from()
        time.sleep(5)


@scenario(
    "burst",
    "Bursts of 64 at once on 48 seats: no worker holds more than its seats, whoever may not leave waits.",
    Promise(refused=None),
)
def burst(bench: Bench) -> None:
    site = bench.open()
    for _ in range(8):
        site.traffic.burst(64, Shape(flagged=0.5))
    site.settle()
