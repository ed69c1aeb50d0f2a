"""Why nothing is bought for a request, in the words of its answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from math import ceil, inf

from gateway.errors import BudgetExceeded, FleetSaturated, GatewayError, InvalidRequest, NoCapacity
from gateway.model import MICRO_PER_USD, Bound, Decision, Group, Kept, Short, Visit

WHY_KEPT: Mapping[Bound, str] = {
    "share": "as many of its requests have left as `max_share` allows",
    "budget": "it has spent its budget of this hour",
    "quota": "a budget has no room for it",
    "store": "the store, which keeps its share and its budget, is away",
}
RUNNING_SECONDS = 5.0
"""After which to ask again where only requests that run are in the way: some of them are over by then."""
AWAY_SECONDS = 2
"""After which to ask again where the store is away."""
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
    """Nobody may serve it whom it could be charged to: what would help soonest, with the seconds until then. While the
    store is away nobody can say that its money is spent: it may come again."""
    if any(one.why == "away" for one in unpaid):
        return NoCapacity(why(unpaid), retry_after=AWAY_SECONDS)
    short = [one for one in unpaid if one.why == "short"]
    if short:
        soonest = min(short, key=lambda one: until(one, now))
        wait = until(soonest, now)
        return BudgetExceeded(sentence(soonest), retry_after=None if wait == inf else max(1, ceil(wait)))
    unbound = next((one for one in unpaid if one.why == "unbound"), None)
    if unbound is not None:
        return InvalidRequest(sentence(unbound), param="max_tokens" if unbound.help == UNBOUND else None)
    return BudgetExceeded(why(unpaid))


def until(short: Kept | Short, now: float) -> float:
    """Seconds after which there may be room."""
    left = inf if short.ends is None else short.ends - now
    return min(left, RUNNING_SECONDS) if short.running else left


def why(unpaid: Collection[Kept]) -> str:
    """In one sentence, each reason once."""
    return "; ".join(dict.fromkeys(map(sentence, unpaid)))


def sentence(kept: Kept) -> str:
    if kept.why == "away":
        return "the store, which keeps what is left of budgets, is away"
    if kept.why == "unpriced":
        return f"budget `{kept.quota}` buys nothing whose price is not known"
    if kept.why == "unbound":
        return f"budget `{kept.quota}` must know the most that this request may cost: {kept.help}"
    needs = f"this request may cost ${dollars(kept.needs)}"
    if kept.running:
        return f"{needs}, and what budget `{kept.quota}` has left is set aside by running requests"
    anew = "" if kept.resets is None else f"; the budget begins anew at {utc(kept.resets)}"
    return f"{needs}, and budget `{kept.quota}` has ${dollars(kept.left)} left{anew}"


def dollars(micro: int) -> str:
    """Exactly, without zeros that say nothing beyond the cents."""
    whole, part = divmod(abs(micro), MICRO_PER_USD)
    digits = f"{part:06d}"
    shown = digits[:2] + digits[2:].rstrip("0")
    return f"{'-' if micro < 0 else ''}{whole}.{shown}"


def utc(moment: float) -> str:
    """RFC 3339, to the second."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
