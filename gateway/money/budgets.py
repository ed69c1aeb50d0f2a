"""How much of a rule may leave: its share of the requests and its money of any hour, shared by all replicas.

Both are reserved in one script before anything is sent. What arrives is counted here and told in batches: with every
snapshot, and with each reservation, which so knows all that this replica has seen. What the others have yet to tell is
missing from the sum, so the share is never passed.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gateway.errors import StoreFault
from gateway.model import Bound, Policy, Reservation, Spill
from gateway.store.connection import Store
from gateway.store.scripts import load
from gateway.store.target import Value

_SPEND = load("gateway.money", "spend")
_MICRO = 1e6
_DIGITS = 3
"""Below a thousandth of a micro-dollar a float's digits are noise, not money."""
_UNBOUND = -1
_LEAST = 1
_BOUNDS: Mapping[bytes, Bound] = {b"share": "share", b"budget": "budget"}


FEWEST_ARRIVALS = 10
"""A window of fewer counts as one of so many (spend.lua): else nobody could be the first to leave."""
WINDOW_MINUTES = 5
_ROUNDING = 1e-9


class Booked(NamedTuple):
    """Of one rule: requests that left and that arrived in the last WINDOW_MINUTES, USD spent or reserved in the last
    hour."""

    left: int
    arrived: int
    usd: float


def may_leave(left: int, arrived: int, share: float) -> bool:
    """Whether one more may, by the formula of spend.lua; `arrived` counts it."""
    return left + 1 <= share * max(arrived, FEWEST_ARRIVALS) + _ROUNDING


def first_to_leave(share: float) -> int:
    """Which request of a window, counted as they arrive, is the first that may leave at all."""
    least = math.ceil(1 / share - _ROUNDING) if share > 0 else 0
    return least if least > FEWEST_ARRIVALS else 1


@dataclass(slots=True)
class Budgets:
    """One per process. `shares` is rule -> share of its requests that left lately, as the store last told.

    `seconds` replaces the store's clock in tests (0: its own).
    """

    store: Store
    seconds: Callable[[], int] = lambda: 0
    shares: dict[str, float] = field(default_factory=dict)
    _arrived: Counter[str] = field(default_factory=Counter)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def arrived(self, rule: str) -> None:
        """A request came under a rule that has a `max_share`."""
        self._arrived[rule] += 1

    async def reserve(self, rule: str, usd: float, bounds: Spill) -> Reservation | Bound:
        """The right to leave, with `usd` set aside; or which bound has no room for it.

        Raises StoreFault: without the store nothing new leaves, which is not the same as the bounds being reached.
        Whoever leaves before the answer is there, or finds it late, has reserved nothing: what the script booked all
        the same is given back as its answer comes. Only a connection that breaks in between leaves it booked.
        """
        money, share = bounds.budget_usd_per_hour, bounds.max_share
        amount = 0 if money is None else _micro(usd)
        cap = _UNBOUND if money is None else math.floor(round(money * _MICRO, _DIGITS))
        leaving = 0 if share is None else 1
        asked: list[Value] = [amount, cap, leaving, _UNBOUND if share is None else share]

        def held(answer: Any) -> Reservation | Bound:
            word, minute, *_ = answer
            return _BOUNDS[word] if word else Reservation(rule, amount, int(minute), counted=share is not None)

        def unwanted(answer: Any) -> None:
            if isinstance(it := held(answer), Reservation):
                self.give_back_later(it)

        booking = asyncio.create_task(self._book(rule, asked, late=unwanted))
        try:
            return held(await asyncio.shield(booking))
        except asyncio.CancelledError:
            self._later(self._unwanted(booking, unwanted))
            raise

    @staticmethod
    async def _unwanted(booking: asyncio.Task[Any], unwanted: Callable[[Any], None]) -> None:
        """Who asked has left: the script may have run all the same."""
        with suppress(StoreFault):
            unwanted(await booking)

    async def booked(self, rule: str) -> Booked:
        """What counts now; nothing is booked by asking. Raises StoreFault."""
        asked: list[Value] = [_LEAST, 0, 0, _UNBOUND]  # any amount is more than nothing, so that nothing is booked
        _, _, left, arrived, micro = await self._book(rule, asked)
        return Booked(int(left), int(arrived), int(micro) / _MICRO)

    def settle_later(self, held: Reservation, micro: int) -> None:
        """Replaces the money set aside by what was really spent (micro-dollars), off the caller's path."""
        self._correct_later(held, micro - held.micro_usd if held.micro_usd else 0, 0)

    def give_back_later(self, held: Reservation) -> None:
        """The attempt never left, or was refused before any work: as if it had not been made."""
        self._correct_later(held, -held.micro_usd, -1 if held.counted else 0)

    def _correct_later(self, held: Reservation, micro: int, leaving: int) -> None:
        if micro or leaving:
            self._later(self._correct(held, micro, leaving))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _correct(self, held: Reservation, micro: int, leaving: int) -> None:
        """If the store is away the reservation simply stays booked: too much is set aside, never too little."""
        with suppress(StoreFault):
            await self._book(held.rule, [micro, _UNBOUND, leaving, _UNBOUND], held.minute)

    async def exchange(self, policy: Policy) -> None:
        """Tells the store what arrived since the last time, and takes what share of each rule has left."""
        bounded = {rule.name for rule in policy.rules if rule.spill is not None and rule.spill.max_share is not None}
        for rule in self.shares.keys() - bounded:
            del self.shares[rule]
        with suppress(StoreFault):
            await asyncio.gather(*(self._tell(rule, shown=rule in bounded) for rule in bounded | {*self._arrived}))

    async def _tell(self, rule: str, *, shown: bool) -> None:
        _, _, left, came, _ = await self._book(rule, [0, _UNBOUND, 0, _UNBOUND])
        if shown:
            self.shares[rule] = left / came if came else 0.0

    async def _book(
        self, rule: str, asked: list[Value], minute: int = 0, late: Callable[[Any], None] | None = None
    ) -> Any:
        """What the script returns. What arrived is told at most once: where no answer comes it may count for nothing,
        and less may leave."""
        args = [*asked, self._arrived.pop(rule, 0), minute, self.seconds()]
        return await self.store.eval(_SPEND, [f"gw:budget:{{{rule}}}", f"gw:share:{{{rule}}}"], args, late)

    async def aclose(self) -> None:
        """Waits for the corrections under way, and for those that they lead to."""
        while self._tasks:
            await asyncio.gather(*self._tasks)


def _micro(usd: float) -> int:
    """Whole micro-dollars, rounded up: what is spent is never booked as less."""
    return math.ceil(round(usd * _MICRO, _DIGITS))
