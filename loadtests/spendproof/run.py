"""One run: clients ask, replicas die, somebody looks at the counters; then all is laid side by side."""

from __future__ import annotations

import time
from collections import Counter as Count
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from threading import Event, Thread

from loadtests.chaos.servers import Loop
from loadtests.spendproof.clients import OUTPUT_TOKENS, Clients
from loadtests.spendproof.judge import Evidence
from loadtests.spendproof.site import INPUT_PER_1M, OUTPUT_PER_1M, Site

LOOK_SECONDS = 0.02
LONGEST_BODY = 420
"""Bytes of the largest request: as many tokens as it could be."""
FINE = ("answered", "left", "cut", "refused 402 budget_exceeded", "refused 429 fleet_saturated")
"""The last: a replica that does not hear from the store in time admits its share alone."""
AT_LEAST_KILLS = 1


@dataclass(frozen=True, slots=True)
class Plan:
    count: int = 200_000
    clients: int = 64
    replicas: int = 3
    usd: str = "10"
    seed: int = 1
    between_kills: tuple[float, float] = (4.0, 10.0)
    """Seconds: the shortest and the longest."""


@dataclass(slots=True)
class Watch:
    """Reads the counters again and again, on a connection of its own."""

    site: Site
    most: int = 0
    looks: int = 0
    over: Event = field(default_factory=Event)

    def run(self) -> None:
        while not self.over.wait(LOOK_SECONDS):
            seen = self.site.counter()
            self.most, self.looks = max(self.most, seen.used + seen.held), self.looks + 1


def prove(place: Path, plan: Plan, tell: Callable[[str], None]) -> Evidence:
    """Raises SimFault, StackFault, OSError or TimeoutError where it could not be run to its end."""
    rng, loop = Random(plan.seed), Loop()
    try:
        with Site(place, plan.usd, plan.replicas).running() as site:
            clients = Clients(site.ports, plan.count, Random(plan.seed))
            watch = Watch(site)
            looking = Thread(target=watch.run)
            looking.start()
            try:
                kills = _killing(site, loop, clients, plan, rng, tell)
            finally:
                watch.over.set()
                looking.join()
            for name in list(site.gateways)[1:]:
                site.stop(name)
            site.rest()
            return _evidence(site, plan, clients.ended, watch, kills)
    finally:
        loop.close()


def _killing(site: Site, loop: Loop, clients: Clients, plan: Plan, rng: Random, tell: Callable[[str], None]) -> int:
    """Runs the clients to their end; how many replicas were killed meanwhile."""
    running, kills, shown = loop.begin(clients.run(plan.clients)), 0, time.monotonic()
    due = time.monotonic() + rng.uniform(*plan.between_kills)
    while not running.done():
        time.sleep(LOOK_SECONDS)
        now = time.monotonic()
        if now >= due:
            name = rng.choice(sorted(site.gateways))
            site.kill(name)
            site.start(name)
            kills, due = kills + 1, time.monotonic() + rng.uniform(*plan.between_kills)
        if now - shown > 10:
            shown = now
            tell(f"{clients.left:>9,} requests left, {kills} replicas killed, {dict(clients.ended)}")
    running.result()
    return kills


def _evidence(site: Site, plan: Plan, ended: Count[str], watch: Watch, kills: int) -> Evidence:
    wrong = [f"{count:,} x {what}" for what, count in ended.items() if what not in FINE]
    return Evidence(
        cap=round(float(plan.usd) * 1e6),
        ledger=site.ledger(),
        bills=site.bills(),
        last=site.counter(),
        looks=watch.looks,
        most=watch.most,
        dearest=dearest(),
        kills=kills,
        answered=ended["answered"],
        refused=ended["refused 402 budget_exceeded"],
        wrong=wrong,
    )


def dearest() -> int:
    """Micro-dollars: every byte of the longest body a token, and all output that is allowed; a dollar for a million
    tokens is a micro-dollar for one."""
    return round(float(INPUT_PER_1M) * LONGEST_BODY + float(OUTPUT_PER_1M) * OUTPUT_TOKENS) + 1
