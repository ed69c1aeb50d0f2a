"""What is over and the store has not heard of, in order: told a batch at a time, again and again until it has.

A batch is made once and has a number; until it is told it stays as it is, so that the store knows one that comes twice.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence

from gateway.model import Quota
from gateway.money.purse import Settlement, name_of

BATCH = 64
MAX_QUEUED = 100_000
"""Settlements that are kept while the store is away: about 60 MB. Past it the oldest go, and are counted; what they
held stays held until this process ends."""
_log = logging.getLogger("gateway")


class Unsettled:
    """`on_drop` hears of each settlement that is lost because the store was away for too long."""

    def __init__(self, on_drop: Callable[[], None]) -> None:
        self._on_drop = on_drop
        self._queue: deque[Settlement] = deque()
        self._pending: Sequence[Settlement] = ()
        self.number = 0
        """Of the last batch that was made."""

    def __bool__(self) -> bool:
        return bool(self._pending or self._queue)

    def push(self, one: Settlement) -> None:
        self._queue.append(one)
        if len(self._queue) > MAX_QUEUED:
            self._queue.popleft()
            self._on_drop()

    def frees(self, quota: Quota) -> bool:
        """Whether something of it is free that the store has not heard of."""
        return any(delta.less and name_of(delta.account) == quota.name for one in self._queue for delta in one.deltas)

    def batch(self) -> Sequence[Settlement]:
        """The one that is not told yet, or the next one."""
        if not self._pending:
            self._pending = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            self.number += 1
        return self._pending

    def told(self, batch: Sequence[Settlement]) -> None:
        if self._pending is batch:
            self._pending = ()

    def flushed(self) -> None:
        """The store knows nothing of what was held."""
        self._queue, self._pending = deque(one.loose() for one in (*self._pending, *self._queue)), ()

    def reaped(self) -> int:
        """Others have booked what was held: how many settlements come too late."""
        before = len(self._pending) + len(self._queue)
        self._queue, self._pending = deque(one for one in (*self._pending, *self._queue) if one.free), ()
        return before - len(self._queue)

    def lose(self) -> None:
        """This process ends, and the store has not taken them."""
        left = len(self._pending) + len(self._queue)
        self._queue, self._pending = deque(), ()
        _log.error("the store did not take what was over", extra={"fields": {"settlements": left}})
        for _ in range(left):
            self._on_drop()
