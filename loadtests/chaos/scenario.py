"""What a scenario is, and the table of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from loadtests.chaos.score import Promise
from loadtests.chaos.site import Bench


class NotHere(Exception):
    """The machine cannot run this scenario; the message says what it lacks."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """`says`: the promise in words; `promise`: in figures; `fast`: part of the fast subset."""

    name: str
    says: str
    promise: Promise
    fast: bool
    run: Callable[[Bench], None]


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    name: str, says: str, promise: Promise | None = None, *, fast: bool = False
) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
    def add(run: Callable[[Bench], None]) -> Callable[[Bench], None]:
        assert name not in SCENARIOS, name
        SCENARIOS[name] = Scenario(name, says, promise or Promise(), fast, run)
        return run

    return add
