"""The bought APIs of the proof: two simulated providers that keep their own books by mark.

The mark of an order is its prompt, which every API gets in its own words and no two jobs share. What becomes of an
order is drawn from it: answers that are lost after the order was taken, refusals, orders that fail, are slow, or never
begin.
`Listed` can be asked for an order by a name of ours; `Bare` cannot, so what is lost there stays unknown.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loadtests.simproviders.base import Ask, Job, Made, Provider, Reply, Wrong
from loadtests.simproviders.kling import Kling
from loadtests.simproviders.replicate import Replicate

FILM_BYTES = 4096
LOST, REFUSED, FAILS, STUCK, SLOW = 0.04, 0.01, 0.03, 0.001, 0.1
"""Shares of orders."""
FAST_SECONDS, SLOW_SECONDS = (0.02, 0.3), (2.0, 5.0)
FULL = 429
MICRO = 10**6


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of an order at one API."""

    lost: bool
    """Its answer, not itself."""
    refused: bool
    """Once, before it is taken."""
    fails: bool
    stuck: bool
    seconds: float

    @classmethod
    def of(cls, api: str, mark: str, seed: int) -> Fate:
        draw = random.Random(f"{seed} {api} {mark}")
        return cls(
            lost=draw.random() < LOST,
            refused=draw.random() < REFUSED,
            fails=draw.random() < FAILS,
            stuck=draw.random() < STUCK,
            seconds=draw.uniform(*(SLOW_SECONDS if draw.random() < SLOW else FAST_SECONDS)),
        )


def film(api: str, mark: str) -> bytes:
    """What the order of this mark makes there: no two are the same."""
    return hashlib.sha512(f"{api} {mark}".encode()).digest() * (FILM_BYTES // 64)


class Marked(Provider):
    """`submits_of`: submits that came in and were not refused, by mark. `lost`: answers that it kept to itself."""

    def __init__(self, seed: int, **more: Any) -> None:
        self.seed, self.submits_of, self.lost = seed, Counter[str](), 0
        self._refused: set[str] = set()
        super().__init__(**more)

    @staticmethod
    def mark_of(asked: Mapping[str, Any]) -> str:
        """In the body of a submit."""
        return str(asked.get("input", asked)["prompt"])

    def fate(self, mark: str) -> Fate:
        return Fate.of(self.name, mark, self.seed)

    def standing(self) -> dict[str, int]:
        """Mark -> its submits that were not taken back: more than one is a film that was bought twice."""
        found = self.submits_of.copy()
        found.subtract(self.mark_of(job.asked) for job in self.jobs.values() if job.cancelled)
        return found

    def bills(self) -> dict[str, int]:
        """Mark -> micro-dollars, of what is charged."""
        found: Counter[str] = Counter()
        for job in self.jobs.values():
            found[self.mark_of(job.asked)] += round(self.charge(job) * MICRO)
        return {mark: micro for mark, micro in found.items() if micro}

    def take(self, model: str, asked: dict[str, Any], made: list[Made], unit: Any, quantity: float, **more: Any) -> Job:
        mark = self.mark_of(asked)
        fate = self.fate(mark)
        job = super().take(
            model, asked, [Made("video/mp4", film(self.name, mark))], unit, quantity, takes_s=fate.seconds, **more
        )
        job.stuck, job.fail = fate.stuck, "it went wrong" if fate.fails else None
        return job

    def _routed(self, ask: Ask) -> Reply | None:
        self.asks.clear()  # nobody reads them, and there are many
        if not any(
            route.submits and route.method == ask.method and path.fullmatch(ask.path) for route, path in self._routes
        ):
            return super()._routed(ask)
        mark = self.mark_of(ask.json)
        fate = self.fate(mark)
        if fate.refused and mark not in self._refused:
            self._refused.add(mark)
            raise Wrong(FULL, "", "come again", ((b"retry-after", b"1"),))
        self.submits_of[mark] += 1
        reply = super()._routed(ask)
        if fate.lost and self.submits_of[mark] == 1:
            self.lost += 1
            return None
        return reply


class Listed(Marked, Kling):
    """Kling: an order is found by its `external_task_id`."""


class Bare(Marked, Replicate):
    """Replicate: what was lost cannot be looked for."""
