"""Why nothing is bought for a request, in the words of its answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from math import ceil, inf

from gateway.errors import BudgetExceeded, FleetSaturated, GatewayError, InvalidRequest
from gateway.model import MICRO_PER_USD, Bound, Decision, Group, Kept, Visit

WHY_KEPT: Mapping[Bound, str] = {
    "share": "as many of its requests have left as `max_share` allows",
    "budget": "it has spent its budget of this hour",
    "quota": "a budget has no room for it",
    "store": "the store, which keeps its share and its budget, is away",
}
UNBOUND = "set max_tokens (or have the operator set default_output_cap in models.yaml)"
NOT_TEXT = "its prompt is not text alone: have the operator set context_tokens in models.yaml"


def held_back(full: str, decision: Decision, visit: Visit, now: float, wait: int) -> GatewayError:
    """Of a request for which there is no room at home (`full`) until `wait` seconds from now. `now`: monotonic."""
    if visit.kept is None:
        return FleetSaturated(full, retry_after=wait)
    if visit.kept == "quota":
        if not open_to((*decision.primary, *decision.overflow), visit.unpaid):
            return refusal(visit.unpaid.values(), now)
        return FleetSaturated(f"{full}, and {why(visit.unpaid.values())}", retry_after=wait)
    said = f"rule `{decision.rule.name}` sends nothing more away: {WHY_KEPT[visit.kept]}"
    if open_to(decision.primary, visit.unpaid):
        return FleetSaturated(f"{full}, and {said}", retry_after=wait)
    return (BudgetExceeded if visit.kept == "budget" else FleetSaturated)(said, retry_after=wait)


def open_to(groups: Sequence[Group], unpaid: Mapping[str, Kept]) -> list[Group]:
    """Those whose backends no budget keeps it from."""
    return [group for group in groups if group.backend not in unpaid]


def refusal(unpaid: Collection[Kept], now: float) -> GatewayError:
    """Nobody may serve it whom it could be charged to: what would help soonest, with the seconds until then."""
    short = [one for one in unpaid if one.why == "short"]
    if short:
        soonest = min(short, key=lambda one: inf if one.ends is None else one.ends)
        wait = None if soonest.ends is None else max(1, ceil(soonest.ends - now))
        return BudgetExceeded(sentence(soonest), retry_after=wait)
    unbound = next((one for one in unpaid if one.why == "unbound"), None)
    if unbound is not None:
        return InvalidRequest(sentence(unbound), param="max_tokens" if unbound.help == UNBOUND else None)
    return BudgetExceeded(why(unpaid))


def why(unpaid: Collection[Kept]) -> str:
    """In one sentence, each reason once."""
    return "; ".join(dict.fromkeys(map(sentence, unpaid)))


def sentence(kept: Kept) -> str:
    if kept.why == "away":
        return "the store, which keeps what is left of budgets, is away"
    if kept.why == "unpriced":
        return f"budget `{kept.quota}` buys nothing whose price is not known"
    if kept.why == "unbound":
        return f"budget `{kept.quota}` must know the most that it may cost: {kept.help}"
    until = "" if kept.resets is None else f"; it begins anew at {utc(kept.resets)}"
    return f"budget `{kept.quota}` has ${dollars(kept.left)} left, and it may cost ${dollars(kept.needs)}{until}"


def dollars(micro: int) -> str:
    """Exactly, without zeros that say nothing beyond the cents."""
    whole, part = divmod(abs(micro), MICRO_PER_USD)
    digits = f"{part:06d}"
    shown = digits[:2] + digits[2:].rstrip("0")
    return f"{'-' if micro < 0 else ''}{whole}.{shown}"


def utc(moment: float) -> str:
    """RFC 3339, to the second."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
