"""What all replicas learn together: the scale of each pool's limit, the rules its requests came under, mean lengths.

Each replica gathers what its own requests taught and exchanges it with every snapshot. Scales are moved by factors and
lengths by sums, so no replica needs to know what the others did in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from gateway.errors import StoreFault
from gateway.model import Learned, PoolKey
from gateway.store.connection import Store, Value
from gateway.store.scripts import load

RULE_SECONDS = 600.0
"""decision.md 6: the strictest SLO seen on a pool in the last 10 minutes guards it."""
LENGTHS_KEY = "gw:lengths"
_LIMIT, _LENGTHS = load("gateway.fleet", "limit"), load("gateway.fleet", "lengths")


@dataclass(frozen=True, slots=True)
class Forgetting:
    """How means forget: `memory` requests, starting from `prior`, which is worth `weight` of them."""

    prior: Learned
    weight: int
    memory: int


@dataclass(slots=True)
class Votes:
    """Those on one pool since the last exchange."""

    factor: float = 1.0
    lowest: float = 0.0
    highest: float = 0.0


@dataclass(slots=True)
class Sums:
    """Finished requests of one model since the last exchange."""

    count: int = 0
    prompt: int = 0
    text: int = 0
    output: int = 0

    def plus(self, other: Sums) -> Sums:
        return Sums(
            self.count + other.count,
            self.prompt + other.prompt,
            self.text + other.text,
            self.output + other.output,
        )


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
    _met: set[tuple[PoolKey, str]] = field(default_factory=set)
    _sums: dict[str, Sums] = field(default_factory=dict)

    def scale(self, pool: PoolKey) -> float:
        return self.scales.get(pool, 1.0)

    def vote(self, pool: PoolKey, factor: float, within: tuple[float, float]) -> None:
        """Moves the pool's scale; it stays `within` (lowest, highest)."""
        votes = self._votes.setdefault(pool, Votes())
        votes.factor *= factor
        votes.lowest, votes.highest = within
        self.scales[pool] = min(within[1], max(within[0], self.scale(pool) * factor))

    def met(self, pool: PoolKey, rule: str) -> None:
        """A request came to the pool under this rule."""
        self._met.add((pool, rule))

    def finished(self, model: str, prompt_bytes: int, prompt_tokens: int, output_tokens: int) -> None:
        """A request of known usage; one that had no prompt or no answer teaches nothing."""
        if prompt_bytes > 0 and prompt_tokens > 0 and output_tokens > 0:
            before = self._sums.get(model, Sums())
            self._sums[model] = before.plus(Sums(1, prompt_tokens, prompt_bytes, output_tokens))

    async def exchange(self, backends: Sequence[str]) -> None:
        """Tells the store what is new here and takes what it knows. What could not be told is kept for the next time;
        an answer that came late is told again, which does no harm."""
        await asyncio.gather(self._exchange_lengths(), *(self._exchange_limits(backend) for backend in backends))

    async def _exchange_limits(self, backend: str) -> None:
        votes = {pool: self._votes.pop(pool) for pool in list(self._votes) if pool[0] == backend}
        met = {one for one in self._met if one[0][0] == backend}
        self._met -= met
        args: list[Value] = [self.store_ms(), int(RULE_SECONDS * 1000), len(votes)]
        for pool, cast in votes.items():
            args += (pool[1], cast.factor, cast.lowest, cast.highest, self.scale(pool) / cast.factor)
        args += [f"{rule} {pool[1]}" for pool, rule in met]
        try:
            scales, rules = await self.store.eval(_LIMIT, [f"gw:{{{backend}}}:scales", f"gw:{{{backend}}}:rules"], args)
        except StoreFault:
            self._met |= met
            for pool, cast in votes.items():
                self._votes.setdefault(pool, Votes(1.0, cast.lowest, cast.highest)).factor *= cast.factor
            return
        for model, scale in zip(scales[0::2], scales[1::2], strict=True):
            pool = (backend, model.decode())
            since = self._votes.get(pool)
            self.scales[pool] = float(scale) * (since.factor if since else 1.0)
        self._hear_rules(backend, [member.decode() for member in rules])

    def _hear_rules(self, backend: str, members: Sequence[str]) -> None:
        heard: dict[PoolKey, tuple[str, ...]] = {
            pool: names for pool, names in self.rules.items() if pool[0] != backend
        }
        for member in members:
            rule, _, model = member.partition(" ")
            heard[backend, model] = (*heard.get((backend, model), ()), rule)
        self.rules = heard

    async def _exchange_lengths(self) -> None:
        sums, self._sums = self._sums, {}
        prior = self.forgetting.prior
        args: list[Value] = [self.forgetting.memory, self.forgetting.weight]
        for model, one in sums.items():
            means = (one.prompt / one.count, one.text / one.count, one.output / one.count)
            args += (model, one.count, *means, prior.prompt, prior.text, prior.output)
        try:
            rows = await self.store.eval(_LENGTHS, [LENGTHS_KEY], args)
        except StoreFault:
            for model, one in sums.items():
                self._sums[model] = self._sums.get(model, Sums()).plus(one)
            return
        found: dict[str, Learned] = {}
        for name, row in zip(rows[0::2], rows[1::2], strict=True):
            with suppress(ValueError):  # what another version wrote is unknown, not fatal
                found[name.decode()] = _learned(row)
        self.lengths = found


def _learned(row: bytes) -> Learned:
    prompt, text, output, seen = row.split(b"|")
    return Learned(float(prompt), float(text), float(output), int(seen))
