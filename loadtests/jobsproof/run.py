"""A run: callers bring jobs, processes and the store die, and at the end all books are laid side by side."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import httpx

from loadtests.chaos.servers import Loop
from loadtests.jobsproof.books import Books
from loadtests.jobsproof.clients import Clients, expected
from loadtests.jobsproof.judge import Evidence
from loadtests.jobsproof.site import ADMIN_KEY, REFUSED, Site

LOOK_SECONDS, TOLD_SECONDS = 0.05, 15.0
FROZEN_SECONDS = 6.0
"""Longer than any silence is borne (`gateway/jobs/jobs.lua`)."""
AGAIN_AT_ONCE, AGAIN_SECONDS = 32, 1800.0
MOST_LISTED = 1000


@dataclass(frozen=True, slots=True)
class Plan:
    count: int = 10_000
    clients: int = 240
    processes: int = 3
    kill_seconds: float = 2.0
    most_kills: int | None = None
    restart_share: float = 0.5
    """Of the jobs, after which the store is killed once."""
    freezes: int = 5
    """Of a process, spread over the run."""
    longest: float = 60.0
    """Seconds that a job may take."""
    seed: int = 1


@dataclass(slots=True)
class Trouble:
    """Who dies when: a process at random every `kill_seconds`, now and then one that is frozen instead, and the store
    once."""

    site: Site
    plan: Plan
    draw: random.Random
    kills: int = 0
    freezes: int = 0
    restarts: int = 0
    _frozen: subprocess.Popen[bytes] | None = None
    _thaws: float = 0.0

    def make(self, over: int) -> None:
        if not self.restarts and over >= self.plan.restart_share * self.plan.count:
            self.site.store.kill()
            self.site.store.start()
            self.restarts += 1
        due = min(self.plan.freezes, over * (self.plan.freezes + 1) // self.plan.count)
        if self._frozen is None and self.freezes < due:
            self._frozen, self._thaws = self.site.freeze(self.draw), time.monotonic() + FROZEN_SECONDS
            self.freezes += 1
        elif self.plan.most_kills is None or self.kills < self.plan.most_kills:
            self.site.kill(self.draw)
            self.kills += 1

    def look(self) -> None:
        self.site.keep()
        if self._frozen is not None and time.monotonic() >= self._thaws:
            self.calm()

    def calm(self) -> None:
        """Also where it was killed meanwhile."""
        if self._frozen is not None:
            self._frozen.send_signal(signal.SIGCONT)
            self._frozen = None


def prove(place: Path, plan: Plan, tell: Callable[[str], None]) -> Evidence:
    """Raises StackFault, SimFault or OSError where it cannot run, TimeoutError where jobs do not end."""
    loop, began = Loop(), time.monotonic()
    try:
        with Site(place, plan.processes, plan.longest, plan.seed).running() as site:
            clients = Clients(site.urls, plan.seed, plan.count)
            trouble = Trouble(site, plan, random.Random(plan.seed))
            _through(loop.begin(clients.run(plan.clients)), trouble, clients, tell)
            site.ready()
            tell("all jobs are over; every process is asked for each of them")
            loop.do(clients.look_again(AGAIN_AT_ONCE), within=AGAIN_SECONDS)
            run = _evidence(site, plan, clients, trouble)
            run.seconds = time.monotonic() - began
            return run
    finally:
        loop.close()


def _through(running: Future[None], trouble: Trouble, clients: Clients, tell: Callable[[str], None]) -> None:
    """The callers, to their end."""
    due, shown = time.monotonic() + trouble.plan.kill_seconds, time.monotonic()
    try:
        while not running.done():
            time.sleep(LOOK_SECONDS)
            trouble.look()
            now = time.monotonic()
            if now >= due:
                due = now + trouble.plan.kill_seconds
                trouble.make(len(clients.seen))
            if now - shown >= TOLD_SECONDS:
                shown = now
                tell(f"{len(clients.seen):,} jobs over, {trouble.kills} processes killed")
    finally:
        trouble.calm()
    running.result()


def _evidence(site: Site, plan: Plan, clients: Clients, trouble: Trouble) -> Evidence:
    with site.store.client() as client:
        books = Books(client, site.ledger, site.artefacts)
        books.rest()
        submits, bills = Counter[str](), Counter[str]()
        for api in site.apis:
            submits.update(api.standing())
            bills.update(api.bills())
        strays, drafts = books.strays()
        for number, one in ((int(one.mark.split()[1]), one) for one in clients.seen):
            one.expected = expected(number)
        return Evidence(
            plan.count,
            clients.seen,
            submits,
            bills,
            ledger=books.rows(),
            listed=_listed(site),
            left=books.left(),
            strays=len(strays),
            drafts=len(drafts),
            lost=sum(api.lost for api in site.apis),
            kills=trouble.kills,
            freezes=trouble.freezes,
            restarts=trouble.restarts,
            wrong=[
                *(f"{times:,} x {what}" for what, times in Counter(clients.wrong).items()),
                *(f"{times} processes ended with {code}" for code, times in site.exits.items() if code != REFUSED),
            ],
        )


def _listed(site: Site) -> frozenset[str]:
    """As an operator asks for it."""
    answer = httpx.get(
        f"{site.urls[0]}/admin/v1/jobs",
        params={"state": "unknown_outcome", "limit": MOST_LISTED},
        headers={"Authorization": f"Bearer {ADMIN_KEY}"},
        trust_env=False,
    )
    return frozenset(one["id"] for one in answer.raise_for_status().json()["jobs"])
