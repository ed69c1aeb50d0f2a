"""What is true now: readings, states, and the snapshot of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.model.gpu import GpuSample
from gateway.model.rule import Damp, Threshold
from gateway.model.upstream import Upstream
from gateway.model.words import OnStale, PoolKey


@dataclass(frozen=True, slots=True)
class Learned:
    """Means over the finished requests of one model: prompt tokens, prompt bytes, output tokens; `seen` counts them.

    Means, not quantiles, because work adds up: a worker's load is a sum over its requests. Splitting the output by the
    size of the prompt was tried and cost more (docs/limit.md).
    """

    prompt: float
    text: float
    output: float
    seen: int = 0

    @property
    def bytes_per_token(self) -> float:
        return self.text / self.prompt


class Allowance(NamedTuple):
    """What one answer of an API told of one rate limit: of `limit` units (`requests`, `tokens`, ...) so many remain.
    In `resets` seconds it is whole again: bit by bit until then (`refills`), or at once."""

    unit: str
    limit: float
    remaining: float
    resets: float
    refills: bool


@dataclass(frozen=True, slots=True)
class Scrape:
    """What one look at a worker gave; None was not published. `gpu_age` is seconds since its GPUs were read,
    `started` the epoch second in which the worker's process began."""

    healthy: bool = True
    running: int | None = None
    waiting: int | None = None
    kv: float | None = None
    kv_tokens: int | None = None
    """Room for so many tokens in its KV cache."""
    gpu: float | None = None
    gpu_age: float | None = None
    started: float | None = None
    reason: str | None = None
    engine: str | None = None
    """What it was found to be: a name of `engine` in backends.yaml."""
    version: str | None = None
    """The engine's own."""
    seats: int | None = None
    """Requests that it runs at once."""
    models: tuple[str, ...] | None = None
    """Names that it answers for now, adapters included."""
    adapters: tuple[str, ...] = ()
    """Those of them that are LoRA adapters."""
    asleep: bool = False
    """Its weights are put away: it answers, but not soon."""
    missing: tuple[str, ...] = ()
    """Metrics that its engine should publish and that were not on its page: unknown, not zero."""
    gpus: tuple[GpuSample, ...] = ()
    gpu_fault: str | None = None
    """Which fault of its GPUs keeps it out, such as `xid 79 on GPU-...`: until that is over, however old the scrape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(Scrape):
    """One scrape of a worker. `at` is when it was taken, `gpu_at` when its GPUs were read (the store's clock)."""

    at: float
    life: int = 0
    gpu_at: float | None = None


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """What one replica knows of an upstream at one instant. `outside` is load that is not ours, as work."""

    upstream: Upstream
    leased: int = 0
    inflight: int = 0
    life: int = 0
    reading: Reading | None = None
    outside: int = 0
    limit: int | None = None
    """The learned limit (GPU-us) for the model at hand, or the requests that an API account takes now; None: the
    upstream's own fixed limit holds."""
    out: str | None = None
    """Why it takes no traffic, or None."""
    back: float | None = None
    """When it is likely to take traffic again (seconds of the snapshot's clock), where that is known."""
    headroom: float | None = None
    """What an API account has left of its rate limit, 0 to 1, as its last answers said; None: it does not tell."""
    errors: float | None = None
    """Share of its attempts that failed lately, as this replica saw; None: it had none."""
    warm: frozenset[str] = frozenset()
    """Models that it answered for lately, as this replica saw."""
    ramp: float = 1.0
    """Share of its limit that it may hold while it warms up, beside a warm one; never less than one request."""
    joined: float | None = None
    """When it was first found, of all replicas (seconds of the snapshot's clock); None: the policy writes it down."""
    unloaded: frozenset[str] = frozenset()
    """Names that it said it has no model for, when it was asked for one since its last reading."""
    seats: int | None = None
    """The requests that it may hold now, where that is fewer than ever: it is tried again after a failure, or its own
    queue is full. None: `Upstream.seats`."""

    @property
    def holds(self) -> int:
        """Requests that it may hold now."""
        return self.upstream.seats if self.seats is None else self.seats


class DampedKey(NamedTuple):
    """All in a policy that moves the state of one of its thresholds: where two policies agree in it, one of them in
    force and one on trial, they share the state; where they differ, neither sees that of the other."""

    rule: str
    model: str
    threshold: Threshold
    damp: Damp
    backends: tuple[str, ...]
    on_stale: OnStale
    learned: bool


class Damped(NamedTuple):
    """Whether a damped threshold holds, and since when (seconds of the snapshot's clock)."""

    on: bool
    since: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All upstream states at one instant; never changed, only replaced."""

    at: float
    states: Mapping[str, UpstreamState]
    degraded: bool = False
    replicas: int = 1
    scales: Mapping[PoolKey, float] = field(default_factory=dict)
    """The learned part of each limit; 1 where a pool has none yet."""
    rules: Mapping[PoolKey, tuple[str, ...]] = field(default_factory=dict)
    """Names of the rules under which requests came to the pool in the last minutes, from all replicas."""
    learned: Mapping[str, Learned] = field(default_factory=dict)
    """Model -> what its finished requests taught; a model without an entry has the prior."""
    lines: Mapping[str, float] = field(default_factory=dict)
    """Backend -> seconds that those who wait for it in this replica will take; absent where nobody waits."""
    damped: Mapping[DampedKey, Damped] = field(default_factory=dict)
    """Thresholds of `spill.when`, each in its state; one without an entry has no history and is not damped."""
