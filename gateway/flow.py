"""The last hour, minute by minute and rule by rule, over all replicas: how requests ended, how soon their first byte
came, whether their SLO was kept.

A request costs a dictionary's increment here. Once a second what was counted is added to the store, in the pipeline of
one turn of the loop; a replica without traffic says nothing. While the store is away the counts stay here, an hour of
them at most.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from gateway.errors import StoreFault
from gateway.store.connection import Store
from gateway.store.scripts import load
from gateway.store.target import Value

FLUSH_SECONDS = 1.0
MINUTE_SECONDS = 60
MINUTES = 60
"""So many are told."""
KEPT_SECONDS = (MINUTES + 5) * MINUTE_SECONDS
NO_RULE = "-"
"""Of requests that were refused before a rule was found; no rule can be called that."""
MET, MISSED = "met", "missed"
_NO_BUCKET = -1
_MS = 1000.0
_KEY = "gw:{flow}:"
_ADD = load("gateway", "flow")

Words = Mapping[str, int]
"""An outcome, `met`, `missed`, or `t3` (first bytes in the fourth bucket) -> how many."""
Minute = Mapping[str, Words]
"""By rule."""


class _Batch(NamedTuple):
    minute: int
    number: int
    fields: Mapping[str, int]


class Flow:
    """One per process. `now`: seconds since the epoch, by the store's clock; minutes are told by their first second."""

    def __init__(self, store: Store, owner: str, buckets: Sequence[float], now: Callable[[], float]) -> None:
        """`buckets`: upper bounds in seconds, rising; a value on a bound belongs below it."""
        self._store, self._owner, self._now = store, owner, now
        self.buckets = tuple(buckets)
        self._counts: dict[tuple[str | None, str, int], int] = {}
        self._slo: dict[tuple[str, bool], int] = {}
        self._minutes: defaultdict[int, dict[str, int]] = defaultdict(dict)
        """Not sent yet."""
        self._sent: list[_Batch] = []
        """Without an answer so far: sent again as they are."""
        self._number = 0

    def heard(self, receipt: Mapping[str, Any]) -> None:
        """One request is over."""
        first = receipt["times"].get("ttft_ms")
        bucket = _NO_BUCKET if first is None else bisect_left(self.buckets, first / _MS)
        key = (receipt["rule"], receipt["outcome"], bucket)
        self._counts[key] = self._counts.get(key, 0) + 1

    def slo(self, rule: str, met: bool) -> None:
        self._slo[rule, met] = self._slo.get((rule, met), 0) + 1

    async def run(self) -> None:
        """Flushes until cancelled; then once more."""
        try:
            while True:
                await asyncio.sleep(FLUSH_SECONDS)
                await self.flush()
        finally:
            await asyncio.shield(self.flush())

    async def flush(self) -> None:
        """What was counted since the last time belongs to the minute of now."""
        now = self._now()
        self._gather(int(now) // MINUTE_SECONDS * MINUTE_SECONDS)
        if not self._sent:
            self._sent = [_Batch(minute, self._next(), fields) for minute, fields in self._minutes.items()]
            self._minutes.clear()
        self._sent = [batch for batch in self._sent if now - batch.minute < KEPT_SECONDS]
        if self._sent:
            added = await asyncio.gather(*map(self._add, self._sent))
            self._sent = [batch for batch, known in zip(self._sent, added, strict=True) if not known]

    async def read(self, minutes: Iterable[int]) -> dict[int, Minute]:
        """As they are in the store now. Raises StoreFault."""
        asked = list(minutes)
        found = await asyncio.gather(*(self._store.call("HGETALL", f"{_KEY}{minute}") for minute in asked))
        return {minute: _minute(flat) for minute, flat in zip(asked, found, strict=True)}

    def last(self) -> list[int]:
        """The minutes of the last hour, the one that runs included, oldest first."""
        newest = int(self._now()) // MINUTE_SECONDS * MINUTE_SECONDS
        return [newest - back * MINUTE_SECONDS for back in reversed(range(MINUTES))]

    def _gather(self, minute: int) -> None:
        if not self._counts and not self._slo:
            return
        counts, slo = self._counts, self._slo
        self._counts, self._slo = {}, {}
        fields = self._minutes[minute]
        for (rule, outcome, bucket), count in counts.items():
            _more(fields, rule, outcome, count)
            if bucket != _NO_BUCKET:
                _more(fields, rule, f"t{bucket}", count)
        for (named, met), count in slo.items():
            _more(fields, named, MET if met else MISSED, count)
        for old in [old for old in self._minutes if minute - old >= KEPT_SECONDS]:
            del self._minutes[old]

    def _next(self) -> int:
        self._number += 1
        return self._number

    async def _add(self, batch: _Batch) -> bool:
        """Whether the store has it."""
        pairs: list[Value] = [part for pair in batch.fields.items() for part in pair]
        try:
            await self._store.eval(_ADD, [f"{_KEY}{batch.minute}"], [self._owner, batch.number, KEPT_SECONDS, *pairs])
        except StoreFault:
            return False
        return True


def _more(fields: dict[str, int], rule: str | None, word: str, count: int) -> None:
    name = f"{rule or NO_RULE} {word}"
    fields[name] = fields.get(name, 0) + count


def _minute(flat: Sequence[bytes]) -> Minute:
    """From field, count, field, count, ..."""
    rules: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for field, count in zip(flat[::2], flat[1::2], strict=True):
        if not field.startswith(b"#"):
            rule, _, word = field.decode().rpartition(" ")
            rules[rule][word] = int(count)
    return dict(rules)
