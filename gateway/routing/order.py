"""In which order a decision's groups are tried, and why the fleet was full. Shared by admission and by dry runs."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.model import STALE, Candidate, Decision, Group, Reason, UpstreamState

KV_PRESSURE = 0.9
"""KV use from which a full worker is called full of memory rather than of work."""
OUTSIDE_SHARE = 0.5
"""Share of the limit from which load that is not ours is called the cause."""

WAITED_SECONDS = 0.1
"""Who waited for less did not leave because of the wait."""


def order(decision: Decision) -> tuple[tuple[Group, ...], tuple[Group, ...]]:
    """What is tried first and what after it: at home first, unless something makes it leave before home is full."""
    if decision.spill_now is not None:
        return decision.overflow, decision.primary
    return decision.primary, decision.overflow


def why_full(home: Sequence[tuple[Candidate, UpstreamState]], *, waited: bool) -> Reason:
    """Why no local worker had room, for the header and the receipt."""
    if home and all(one.outside > OUTSIDE_SHARE * one.limit for one, _ in home):
        return "outside_load"
    kv = [state.reading.kv for _, state in home if state.reading is not None and state.reading.kv is not None]
    if kv and min(kv) >= KV_PRESSURE:
        return "kv_pressure"
    return "queue_wait" if waited else "slo_limit"


def spill_reason(decision: Decision, group: Group, full: Reason) -> Reason:
    """The reason shown for an overflow group: one that is there for another reason than a full fleet keeps its own."""
    if group.outcome != "spilled" or not any(home.candidates for home in decision.primary):
        return group.reason
    if decision.spill_now is None:
        return "cheaper" if decision.cheap and full == "slo_limit" else full
    return STALE if decision.spill_now == STALE else "spill_when"
