"""A heap from whose middle things can be taken. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from itertools import count
from typing import Any, Generic, TypeVar

T = TypeVar("T", bound=Hashable)
Key = tuple[float, int]
_SPARE = 16
"""Dead entries below this many are not worth a rebuild."""


class Heap(Generic[T]):
    """The item with the least key first; amortised O(log n) each way.

    What is taken out leaves a dead entry that goes when it comes up, or when more than half of them are dead.
    """

    __slots__ = ("_entries", "_live", "_stamps")

    def __init__(self) -> None:
        self._entries: list[tuple[Key, int, T]] = []
        self._live: dict[T, int] = {}
        self._stamps = count()

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, item: T) -> bool:
        return item in self._live

    def put(self, item: T, key: Key) -> None:
        """With this key from now on, wherever it was before."""
        stamp = self._live[item] = next(self._stamps)
        heapq.heappush(self._entries, (key, stamp, item))
        self._trim()

    def take(self, item: T) -> None:
        """Out, if it is there."""
        if self._live.pop(item, None) is not None:
            self._trim()

    def _trim(self) -> None:
        if len(self._entries) > 2 * len(self._live) + _SPARE:
            self._entries = [entry for entry in self._entries if self._alive(entry)]
            heapq.heapify(self._entries)

    def first(self) -> T | None:
        while self._entries and not self._alive(self._entries[0]):
            heapq.heappop(self._entries)
        return self._entries[0][2] if self._entries else None

    def _alive(self, entry: tuple[Any, int, T]) -> bool:
        return self._live.get(entry[2]) == entry[1]
