"""An event loop in simulated time: instead of waiting for the next timer it moves its clock to it."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable


class Stuck(RuntimeError):
    """Everybody waits and no timer is left: nothing can ever happen again."""


class _Skip(selectors.SelectSelector):
    """Nothing ever comes in: there are no sockets but the loop's own, which nobody writes to."""

    def __init__(self, skip: Callable[[float], None]) -> None:
        super().__init__()
        self._skip = skip

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stuck("everybody waits, and nothing is left to happen")
        if timeout > 0:
            self._skip(timeout)
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """`time()` starts at 0 and is exact to the loop's own resolution of a nanosecond."""

    def __init__(self) -> None:
        self._simulated = 0.0
        super().__init__(_Skip(self._pass))

    def time(self) -> float:
        return self._simulated

    def _pass(self, seconds: float) -> None:
        self._simulated += seconds
