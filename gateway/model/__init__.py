"""The vocabulary: what the rooms of the gateway say to each other, as frozen, slotted dataclasses.

`Candidate` alone is a NamedTuple: a request makes many of them, and a tuple costs a quarter of a frozen dataclass.

Units: durations in seconds, wall times in seconds since the epoch, money in USD, sizes in bytes,
work in GPU-microseconds
(an integer, so that sums in Lua and in Python are exact), shares and utilisations 0..1. None means unknown, never zero.
"""

from __future__ import annotations

from gateway.model.fleet import Allowance, Damped, DampedKey, Learned, Reading, Scrape, Snapshot, UpstreamState
from gateway.model.gpu import Gpus, GpuSample, Need
from gateway.model.lease import Lease, Reservation, Usage
from gateway.model.member import FINDINGS, Finding, Found, Member
from gateway.model.policy import Policy, Tenant
from gateway.model.request import NOTHING_ASKED, Candidate, Decision, Estimate, GenRequest, Group, Permit
from gateway.model.rule import (
    CLASSES,
    Condition,
    Damp,
    Hedge,
    Match,
    PriorityClass,
    Rule,
    Slo,
    Spill,
    Threshold,
    Timeouts,
    Window,
)
from gateway.model.upstream import Breaker, Discovery, Model, Price, Served, Source, Speed, Tls, Upstream
from gateway.model.words import (
    ASKED_TO_WAIT,
    DRAINED,
    LEAVING,
    LOAD_WEIGHT,
    RATE_LIMITED,
    STALE,
    Bound,
    Demand,
    EndpointName,
    Kind,
    Network,
    OnStale,
    Outcome,
    PickerName,
    PoolKey,
    Priority,
    Reason,
    SpillOrder,
    TokenBounds,
)

__all__ = [
    "ASKED_TO_WAIT",
    "CLASSES",
    "DRAINED",
    "FINDINGS",
    "LEAVING",
    "LOAD_WEIGHT",
    "NOTHING_ASKED",
    "RATE_LIMITED",
    "STALE",
    "Allowance",
    "Bound",
    "Breaker",
    "Candidate",
    "Condition",
    "Damp",
    "Damped",
    "DampedKey",
    "Decision",
    "Demand",
    "Discovery",
    "EndpointName",
    "Estimate",
    "Finding",
    "Found",
    "GenRequest",
    "GpuSample",
    "Gpus",
    "Group",
    "Hedge",
    "Kind",
    "Learned",
    "Lease",
    "Match",
    "Member",
    "Model",
    "Need",
    "Network",
    "OnStale",
    "Outcome",
    "Permit",
    "PickerName",
    "Policy",
    "PoolKey",
    "Price",
    "Priority",
    "PriorityClass",
    "Reading",
    "Reason",
    "Reservation",
    "Rule",
    "Scrape",
    "Served",
    "Slo",
    "Snapshot",
    "Source",
    "Speed",
    "Spill",
    "SpillOrder",
    "Tenant",
    "Threshold",
    "Timeouts",
    "Tls",
    "TokenBounds",
    "Upstream",
    "UpstreamState",
    "Usage",
    "Window",
]
