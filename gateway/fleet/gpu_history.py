"""The last hour of each worker's GPUs, for the dashboard and the ledger: one entry for each 10 s, written by whoever
scraped the worker.

An entry is packed: the second at which it begins (4 bytes), then 10 bytes for each GPU. Its values are means over the
looks within it; one that nobody told is 255 or 65,535.
"""

from __future__ import annotations

import struct
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.model import GpuSample
from gateway.store.connection import Store
from gateway.store.scripts import load

STEP_SECONDS = 10
ENTRIES = 360
"""An hour."""
EXPIRES_SECONDS = 2 * STEP_SECONDS * ENTRIES
MOST_GPUS = 64
MEMORY_UNIT_MIB = 16.0
"""So that two bytes reach 1 TiB."""
_HEAD = struct.Struct(">I")
_GPU = struct.Struct(">HBBHHBx")
"""index, sm and dram in 1/250, memory, power, temperature, and a spare byte."""
_SHARE, _BYTE, _WORD = 250.0, 255, 65_535
_WRITE = load("gateway.fleet", "history")


class Moment(NamedTuple):
    """One GPU (`gpu` is its index) in one step: shares 0..1, memory in MiB, power in W, temperature in degrees C."""

    at: int
    gpu: int
    sm: float | None
    dram: float | None
    memory_used: float | None
    power: float | None
    temperature: float | None


FIELDS = ("sm", "dram", "memory_used", "power", "temperature")
_UNITS = (1 / _SHARE, 1 / _SHARE, MEMORY_UNIT_MIB, 1.0, 1.0)
_LIMITS = (_BYTE, _BYTE, _WORD, _WORD, _BYTE)


@dataclass(slots=True)
class _Step:
    """The looks of one worker since `at`: per GPU, of which its instances are looks, its index, and for each field
    (sum, number)."""

    at: int
    sums: dict[str, tuple[int, list[list[float]]]] = field(default_factory=dict)

    def add(self, place: int, gpu: GpuSample) -> None:
        index = gpu.index if gpu.index is not None else place
        _, sums = self.sums.setdefault(gpu.card, (min(index, _WORD), [[0.0, 0.0] for _ in FIELDS]))
        for total, name in zip(sums, FIELDS, strict=True):
            value = getattr(gpu, name)
            if name == "sm" and value is None:
                value = gpu.use
            if value is not None:
                total[0] += value
                total[1] += 1

    def packed(self) -> bytes:
        rows = sorted(self.sums.values(), key=lambda row: row[0])
        return _HEAD.pack(self.at) + b"".join(_packed(index, sums) for index, sums in rows)


def _packed(index: int, sums: list[list[float]]) -> bytes:
    numbers = [
        min(limit - 1, round(total / seen / unit)) if seen and total >= 0 else limit
        for (total, seen), unit, limit in zip(sums, _UNITS, _LIMITS, strict=True)
    ]
    return _GPU.pack(index, *numbers)


def unpack(entry: bytes) -> Iterator[Moment]:
    """The GPUs of one entry. Raises struct.error for what is none."""
    (at,) = _HEAD.unpack_from(entry)
    for index, *numbers in _GPU.iter_unpack(entry[_HEAD.size :]):
        values = [
            None if number == limit else number * unit
            for number, unit, limit in zip(numbers, _UNITS, _LIMITS, strict=True)
        ]
        yield Moment(at, index, *values)


def key_of(upstream: str) -> str:
    return f"gw:{{{upstream}}}:hour"


class GpuHistory:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._steps: dict[str, _Step] = {}

    def keep(self, upstreams: Collection[str]) -> None:
        """Forgets the steps under way of all others."""
        self._steps = {name: step for name, step in self._steps.items() if name in upstreams}

    async def note(self, upstream: str, gpus: Iterable[GpuSample], now: float) -> None:
        """Takes a look into the step that holds `now` (epoch seconds); writes the step before it once it is over.
        Raises StoreFault."""
        at = int(now) // STEP_SECONDS * STEP_SECONDS
        step = self._steps.get(upstream)
        if step is None or step.at != at:
            self._steps[upstream] = _Step(at)
        for place, gpu in zip(range(MOST_GPUS), gpus, strict=False):
            self._steps[upstream].add(place, gpu)
        if step is not None and step.at != at:
            await self._store.eval(_WRITE, [key_of(upstream)], [step.packed(), ENTRIES, EXPIRES_SECONDS])

    async def read(self, upstream: str, since: float | None = None) -> dict[int, list[Moment]]:
        """GPU index -> its moments, oldest first; of the last hour unless `since` (epoch seconds) says later."""
        first = max(since or 0.0, time.time() - STEP_SECONDS * ENTRIES)
        found: dict[int, list[Moment]] = defaultdict(list)
        for entry in await self._store.call("LRANGE", key_of(upstream), 0, -1):
            for moment in _readable(entry):
                if moment.at >= first:
                    found[moment.gpu].append(moment)
        return dict(found)


def _readable(entry: bytes) -> list[Moment]:
    """Nothing of what another version wrote."""
    try:
        return list(unpack(entry))
    except struct.error:
        return []
