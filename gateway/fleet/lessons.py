"""What all replicas learn together: the scale of each pool's limit, the rules its requests came under, mean lengths.

Each replica gathers what its own requests taught and exchanges it with every snapshot. Scales are moved by factors and
lengths by sums, so no replica needs to know what the others did in between. What is told is told at most once: where
an answer does not come in time, the store may have heard it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.errors import StoreFault
from gateway.model import Learned, PoolKey
from gateway.store.connection import Store
from gateway.store.scripts import load
from gateway.store.target import Value

RULE_SECONDS = 600.0
"""How long the SLO of a rule guards a pool after its last request came: docs/limit.md."""
LENGTHS_KEY = "gw:lengths"
_LIMIT, _LENGTHS = load("gateway.fleet", "limit"), load("gateway.fleet", "lengths")


@dataclass(frozen=True, slots=True)
class Forgetting:
    """How means forget: `memory` requests, starting from `prior`, which is worth `weight` of them."""

    prior: Learned
    weight: int
    memory: int


class Bounds(NamedTuple):
    """Of one vote: it pushes the scale neither below `floor` nor above `ceiling`, and the scale stays between `lowest`
    and `highest`."""

    floor: float
    ceiling: float
    lowest: float
    highest: float


@dataclass(slots=True)
class Votes:
    """Those on one pool since the last exchange: what they moved the scale by, and the widest of their bounds."""

    factor: float
    bounds: Bounds

    def add(self, moved: float, bounds: Bounds) -> None:
        self.factor *= moved
        floor, ceiling = min(self.bounds.floor, bounds.floor), max(self.bounds.ceiling, bounds.ceiling)
        self.bounds = Bounds(floor, ceiling, bounds.lowest, bounds.highest)


@dataclass(slots=True)
class Sums:
    """Finished requests of one model since the last exchange."""

    count: int = 0
    prompt: int = 0
    text: int = 0
    output: int = 0


@dataclass(slots=True)
class Lessons:
    """One per process. `scales`, `rules` and `lengths` are as the store last told, own votes since included.

    `store_ms` replaces the store's clock in tests (0: its own).
    """

    store: Store
    forgetting: Forgetting
    store_ms: Callable[[], int] = lambda: 0
    scales: dict[PoolKey, float] = field(default_factory=dict)
    rules: Mapping[PoolKey, tuple[str, ...]] = field(default_factory=dict)
    lengths: Mapping[str, Learned] = field(default_factory=dict)
    _votes: dict[PoolKey, Votes] = field(default_factory=dict)
    _came: set[tuple[PoolKey, str]] = field(default_factory=set)
    _sums: dict[str, Sums] = field(default_factory=dict)

    def scale(self, pool: PoolKey) -> float:
        return self.scales.get(pool, 1.0)

    def vote(self, pool: PoolKey, factor: float, bounds: Bounds) -> None:
        """Moves the pool's scale by `factor`, which keeps floor and ceiling itself, within lowest and highest."""
        before = self.scale(pool)
        after = self.scales[pool] = min(bounds.highest, max(bounds.lowest, before * factor))
        votes = self._votes.get(pool)
        if votes is None:
            self._votes[pool] = Votes(after / before, bounds)
        else:
            votes.add(after / before, bounds)

    def came(self, pool: PoolKey, rule: str) -> None:
        """A request came to the pool under this rule."""
        self._came.add((pool, rule))

    def finished(self, model: str, prompt_bytes: int, prompt_tokens: int, output_tokens: int) -> None:
        """A request of known usage; one that had no prompt or no answer teaches nothing."""
        if prompt_bytes > 0 and prompt_tokens > 0 and output_tokens > 0:
            sums = self._sums.setdefault(model, Sums())
            sums.count += 1
            sums.prompt += prompt_tokens
            sums.text += prompt_bytes
            sums.output += output_tokens

    async def exchange(self, pools: Collection[PoolKey]) -> None:
        """Tells the store what is new here and takes what it knows of `pools`, those of the policy in force; what is
        about others is forgotten. While the store is away everything is kept for later."""
        for about in (self.scales, self._votes):
            for pool in [one for one in about if one not in pools]:
                del about[pool]
        self._came = {one for one in self._came if one[0] in pools}
        if self.store.degraded:
            return
        backends = dict.fromkeys(pool[0] for pool in pools)
        await asyncio.gather(self._exchange_lengths(), *(self._exchange_limits(name, pools) for name in backends))

    async def _exchange_limits(self, backend: str, pools: Collection[PoolKey]) -> None:
        votes = {pool: self._votes.pop(pool) for pool in list(self._votes) if pool[0] == backend}
        came = {one for one in self._came if one[0][0] == backend}
        self._came -= came
        args: list[Value] = [self.store_ms(), int(RULE_SECONDS * 1000), len(votes)]
        for pool, cast in votes.items():
            bounds = cast.bounds
            args += (pool[1], cast.factor, bounds.floor, bounds.ceiling, bounds.lowest, bounds.highest)
            args.append(self.scale(pool) / cast.factor)
        args += [f"{rule} {pool[1]}" for pool, rule in came]
        try:
            scales, rules = await self.store.eval(_LIMIT, [f"gw:{{{backend}}}:scales", f"gw:{{{backend}}}:rules"], args)
        except StoreFault:
            return
        for model, scale in zip(scales[0::2], scales[1::2], strict=True):
            pool = (backend, model.decode())
            since = self._votes.get(pool)
            with suppress(ValueError):  # what another version wrote is unknown, not fatal
                if pool in pools:
                    self.scales[pool] = float(scale) * (since.factor if since else 1.0)
        heard: dict[PoolKey, tuple[str, ...]] = {
            pool: names for pool, names in self.rules.items() if pool[0] != backend
        }
        for member in rules:
            rule, _, name = member.decode().partition(" ")
            heard[backend, name] = (*heard.get((backend, name), ()), rule)
        self.rules = heard

    async def _exchange_lengths(self) -> None:
        sums, self._sums = self._sums, {}
        prior = self.forgetting.prior
        args: list[Value] = [self.forgetting.memory, self.forgetting.weight]
        for model, one in sums.items():
            means = (one.prompt / one.count, one.text / one.count, one.output / one.count)
            args += (model, one.count, *means, prior.prompt, prior.text, prior.output)
        with suppress(StoreFault):
            rows = await self.store.eval(_LENGTHS, [LENGTHS_KEY], args)
            found: dict[str, Learned] = {}
            for name, row in zip(rows[0::2], rows[1::2], strict=True):
                with suppress(ValueError):
                    found[name.decode()] = _learned(row)
            self.lengths = found


def _learned(row: bytes) -> Learned:
    """Raises ValueError for a row that another version wrote."""
    prompt, text, output, seen = row.split(b"|")
    made = Learned(float(prompt), float(text), float(output), int(seen))
    if not min(made.prompt, made.text, made.output) > 0:
        raise ValueError
    return made
