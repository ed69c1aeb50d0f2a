"""What a rule may spend on overflow in any hour: reserved before sending, corrected when the usage is known."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress

from gateway.errors import StoreFault
from gateway.model import Reservation
from gateway.store.connection import Store
from gateway.store.scripts import load

_SPEND = load("gateway.money", "spend")
_MICRO = 1e6
_DIGITS = 3
"""Below a thousandth of a micro-dollar a float's digits are noise, not money."""
_NO_CAP = -1
_LEAST = 1


class Budgets:
    """Shared by all replicas through the store; one script reads the hour and books, so budgets do not race."""

    def __init__(self, store: Store, seconds: Callable[[], int] = lambda: 0) -> None:
        """`seconds` replaces the store's clock in tests (0: its own)."""
        self._store, self._seconds = store, seconds
        self._tasks: set[asyncio.Task[None]] = set()

    async def reserve(self, rule: str, usd: float, usd_per_hour: float) -> Reservation | None:
        """Sets `usd` aside, or None where the last hour has no room for it.

        Raises StoreFault: without the store nothing new is spent, which is not the same as the money being spent.
        """
        amount, cap = _micro(usd), math.floor(round(usd_per_hour * _MICRO, _DIGITS))
        granted, _, minute = await self._store.eval(_SPEND, [_key(rule)], [amount, cap, 0, self._seconds()])
        return Reservation(rule, amount, int(minute)) if granted else None

    async def spent(self, rule: str) -> float:
        """USD spent or reserved in the last hour. Raises StoreFault."""
        asked = [_LEAST, 0, 0, self._seconds()]  # any amount is more than nothing, so that nothing is booked
        _, micro, _ = await self._store.eval(_SPEND, [_key(rule)], asked)
        return int(micro) / _MICRO

    def settle_later(self, held: Reservation, usd: float) -> None:
        """Replaces the reservation by what was really spent, off the caller's path."""
        difference = _micro(usd) - held.micro_usd
        if difference:
            task = asyncio.create_task(self._correct(held, difference))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _correct(self, held: Reservation, difference: int) -> None:
        """If the store is away the reservation simply stays booked: too much is set aside, never too little."""
        with suppress(StoreFault):
            await self._store.eval(_SPEND, [_key(held.rule)], [difference, _NO_CAP, held.minute, self._seconds()])

    async def aclose(self) -> None:
        """Waits for the corrections under way."""
        await asyncio.gather(*self._tasks)


def _micro(usd: float) -> int:
    """Whole micro-dollars, rounded up: what is spent is never booked as less."""
    return math.ceil(round(usd * _MICRO, _DIGITS))


def _key(rule: str) -> str:
    return f"gw:budget:{{{rule}}}"
