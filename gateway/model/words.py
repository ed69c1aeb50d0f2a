"""The small words of the vocabulary: enumerations, keys, and where data may go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

Kind = Literal["local", "managed"]
Priority = Literal["interactive", "standard", "batch"]
RANK: Mapping[Priority, int] = {"interactive": 0, "standard": 1, "batch": 2}
"""Which class goes first: the lower number."""
EndpointName = Literal[
    "chat/completions",
    "completions",
    "responses",
    "embeddings",
    "messages",
    "messages/count_tokens",
    "images/generations",
    "images/edits",
    "videos",
    "audio/speech",
    "audio/transcriptions",
    "audio/translations",
    "realtime",
]
"""The generation paths without their `/v1/`."""
Outcome = Literal["local", "spilled", "fallback", "managed"]
Reason = Literal[
    "local_has_room",
    "slo_limit",
    "queue_wait",
    "kv_pressure",
    "outside_load",
    "spill_when",
    "no_healthy_worker",
    "residency",
    "cheaper",
    "budget",
    "stale",
    "capability",
    "rule",
    "hedged",
    "rescued",
]
OnStale = Literal["hold", "degrade", "spill"]
STALE: Reason = "stale"
PickerName = Literal["best", "weighted_random", "power_of_two"]
SpillOrder = Literal["listed", "cheapest", "fastest"]
Network = IPv4Network | IPv6Network
Role = Literal["asked", "hedge", "rescue"]
"""What an attempt is there for: to answer; to do so before another one that takes long; to go on with its stream."""
LOAD_WEIGHT = 1.0
"""Weight of the live free share of a worker (0..1) beside the static score, where a rule does not say otherwise."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Where a request's data may go. `local`: our own machines only. `zones`: every one of them must hold the data."""

    local: bool = False
    zones: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return self.local or bool(self.zones)

    def words(self) -> list[str]:
        """As its caller could have written it: `local` first, then zones."""
        return [*(["local"] if self.local else []), *sorted(self.zones)]


TokenBounds = tuple[int | None, int | None]
"""Lowest and highest, both included; None is no bound."""
PoolKey = tuple[str, str]
"""(backend, model): what a learned limit is about."""
RATE_LIMITED, ASKED_TO_WAIT = "rate_limited", "asked_to_wait"
"""`UpstreamState.out` of an API account that has nothing left of its rate limit, or whose refusal told us when to come
again: not down, but busy."""
DRAINED, LEAVING = "drained", "leaving"
"""`UpstreamState.out` of a worker that takes nothing new and ends what it runs: because somebody said so, or because
its own source does (a pod that terminates)."""
Bound = Literal["share", "budget", "quota", "store"]
"""What keeps a request from leaving: `spill.max_share`, `spill.budget_usd_per_hour`, a budget of its key, its tenant or
of budgets.yaml, or that the store, which has the books of all of them, is away."""


NO_DEMAND = Demand()
