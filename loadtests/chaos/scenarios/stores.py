"""The store dies, is slow, is replaced, or forgets everything."""

from __future__ import annotations

import time
from functools import partial

from loadtests.chaos.scenario import scenario
from loadtests.chaos.score import Promise
from loadtests.chaos.servers import Store
from loadtests.chaos.site import Bench, Layout, Site
from loadtests.chaos.traffic import Shape

SEATS, REPLICAS = 6, 2
FULL = Layout(seats=SEATS, replicas=REPLICAS)
RATE = 100.0
"""More than the fleet holds: every seat is wanted, so that over-admission would show."""

NEW_STORE_SECONDS = 2.5
"""Replicas look at a store as they start, and one that knows nothing yet lets nothing in for 2 s (`RECOVERY_MS` of
gateway/fleet/lib.lua). What dies here dies under load, so the load begins after that."""


def full(bench: Bench) -> Site:
    """A site whose store has been there for a while."""
    site = bench.open(FULL)
    time.sleep(NEW_STORE_SECONDS)
    return site


def most_over() -> int:
    """The bound of docs/store.md, "Slow or gone": leases granted since the last snapshot (at most 1 s old) and one a
    replica. Of what is granted in that second one worker of three gets a third."""
    return round(RATE / 3) + REPLICAS


@scenario(
    "store-kill",
    "The store is killed under full load: over-admission within its bound, nothing is lost, it recovers by itself.",
    Promise(refused=None, over_admitted=most_over()),
    fast=True,
)
def store_kill(bench: Bench) -> None:
    site = full(bench)
    with site.load(Shape(rate=RATE, flagged=0.1)):
        time.sleep(2)
        site.store.kill()
        bench.recovers_from()
        time.sleep(3)
        site.store.start()
        time.sleep(3)
    degraded_ends(bench)


@scenario(
    "store-slow",
    "Every answer of the store takes 80 ms, past the 50 ms it is given.",
    Promise(refused=None, over_admitted=most_over()),
)
def store_slow(bench: Bench) -> None:
    site = full(bench)
    with site.load(Shape(rate=RATE, flagged=0.1)):
        time.sleep(2)
        site.wire.delay = 0.08
        bench.recovers_from()
        time.sleep(4)
        site.wire.delay = 0.0
        time.sleep(2)
    degraded_ends(bench)


@scenario(
    "store-deaf", "The store takes what it is sent and never answers.", Promise(refused=None, over_admitted=most_over())
)
def store_deaf(bench: Bench) -> None:
    site = full(bench)
    with site.load(Shape(rate=RATE, flagged=0.1)):
        time.sleep(2)
        site.store.freeze()
        bench.recovers_from()
        time.sleep(4)
        site.store.thaw()
        time.sleep(2)
    degraded_ends(bench)


@scenario(
    "store-failover",
    "The store dies and its replica takes over behind the same address, without the newest writes.",
    Promise(refused=None, over_admitted=most_over()),
)
def store_failover(bench: Bench) -> None:
    site = full(bench)
    with Store(site.place / "replica", master=site.store) as replica:
        site.until(replica.in_step, "the replica in step")
        with site.load(Shape(rate=RATE, flagged=0.1)):
            time.sleep(2)
            site.store.kill()
            bench.recovers_from()
            time.sleep(1)
            replica.promote()
            site.wire.target = ("127.0.0.1", replica.port)
            time.sleep(4)
            site.store = replica
        degraded_ends(bench)


@scenario(
    "store-flush",
    "FLUSHALL under load: leases are written back, limits hold, no count goes below zero.",
    Promise(refused=None, over_admitted=most_over()),
)
def store_flush(bench: Bench) -> None:
    site = full(bench)
    site.kill_worker("w1")  # leases of its second life are written back as such
    site.start_worker("w1")
    with site.load(Shape(rate=RATE, flagged=0.1)):
        bench.recovers_from()
        for _ in range(3):
            time.sleep(1.5)
            site.store.flush()
        time.sleep(3)
    degraded_ends(bench)


def degraded_ends(bench: Bench) -> None:
    """Every replica says that it has its store again."""
    site = bench.site
    assert site is not None
    for name in site.gateways:
        site.until(partial(_has_its_store, site, name), f"{name} has its store")


def _has_its_store(site: Site, name: str) -> bool:
    return site.get("/admin/v1/status", name, admin=True).json()["degraded"] is False
