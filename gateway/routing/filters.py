"""Filters: each drops an upstream with a reason, or lets it pass.

STANDING filters judge one upstream by policy and snapshot alone and are worked out once per snapshot. CALL filters
look at the request and judge a whole backend, which has one kind and one price, once per request. A new filter is a
function, a row in one of the two tables, and a row in its table test. A rule's own `filters`: thresholds.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.model import DRAINED, LEAVING, Demand, GenRequest, Kind, Need, Rule, Served, UpstreamState
from gateway.model.gpu import NO_NEED
from gateway.routing.capability import asked_at
from gateway.routing.estimate import price_ceiling
from gateway.routing.fields import action
from gateway.routing.globs import fits
from gateway.routing.offers import complaint
from gateway.routing.residency import allows


@dataclass(frozen=True, slots=True)
class Standing:
    """What a standing filter may look at."""

    demand: Demand
    zones: Mapping[str, frozenset[str]]
    endpoint: str
    model: str = ""
    served: str = ""
    """The model's name there."""
    need: Need = NO_NEED
    since: float = float("-inf")
    """Readings taken before this moment say nothing."""


def residency(ctx: Standing, state: UpstreamState) -> bool:
    return allows(ctx.demand, state.upstream, ctx.zones)


def capability(ctx: Standing, state: UpstreamState) -> bool:
    return asked_at(state.upstream, ctx.endpoint, engine_of(state)) is not None


def engine_of(state: UpstreamState) -> str | None:
    """What a worker was found to be."""
    return None if state.reading is None else state.reading.engine


def dedicated(ctx: Standing, state: UpstreamState) -> bool:
    """A worker that is kept for some models gets no other."""
    return fits(ctx.model, state.upstream.models)


def gpu_memory(ctx: Standing, state: UpstreamState) -> bool:
    return state.upstream.kind == "managed" or ctx.need.fits(state.upstream.hardware)


def drained(_: Standing, state: UpstreamState) -> bool:
    """It may be as healthy as ever: somebody, or its own source, wants it empty."""
    return state.out not in (DRAINED, LEAVING)


def health(_: Standing, state: UpstreamState) -> bool:
    return state.out is None


def asleep(ctx: Standing, state: UpstreamState) -> bool:
    """A worker whose weights are put away answers nobody soon: it is woken by its operator, not by a request."""
    return state.reading is None or state.reading.at < ctx.since or not state.reading.asleep


def model_loaded(ctx: Standing, state: UpstreamState) -> bool:
    """Unknown passes, and so does what was true too long ago: a worker without the model says so when it is asked."""
    if ctx.served in state.unloaded:
        return False
    reading = state.reading
    if reading is None or reading.models is None or reading.at < ctx.since:
        return True
    return ctx.served in reading.models


def max_cost(rule: Rule, request: GenRequest, kind: Kind, served: Served) -> bool:
    """Money that leaves: only managed upstreams can break the rule's `max_cost_usd` or the caller's
    `X-Gateway-Max-Cost-Usd`. A price that nobody knows may be any."""
    if kind == "local" or (most := most_cost(rule, request)) is None:
        return True
    ceiling = None if served.price is None else price_ceiling(served.price, request, served.offer)
    return ceiling is not None and ceiling <= most


def most_cost(rule: Rule, request: GenRequest) -> float | None:
    """USD; the lower of what rule and caller allow, None where neither says."""
    if rule.max_cost is None or request.max_cost is None:
        return request.max_cost if rule.max_cost is None else rule.max_cost
    return min(rule.max_cost, request.max_cost)


def can_do(_: Rule, request: GenRequest, __: Kind, served: Served) -> bool:
    """Of media: sizes, lengths, numbers. Of our own workers too, where models.yaml says what they can."""
    return request.media is None or complaint(request.endpoint, request.media, served) is None


def fields(rule: Rule, request: GenRequest, kind: Kind, _: Served) -> bool:
    """Fields that change price, scheduling or retention, where rule or default refuses them towards this kind."""
    return all(action(rule, kind, name) != "refuse" for name in request.fields)


STANDING: tuple[tuple[str, Callable[[Standing, UpstreamState], bool]], ...] = (
    ("residency", residency),  # first: nothing else may hide that data must not go there
    ("capability", capability),
    ("dedicated", dedicated),
    ("gpu_memory", gpu_memory),
    ("drained", drained),
    ("health", health),
    ("asleep", asleep),
    ("model_loaded", model_loaded),
)
ABSENT = ("asleep", "model_loaded")
"""Those that drop a worker which is up and cannot serve now: as good as down for this model."""
CALL: tuple[tuple[str, Callable[[Rule, GenRequest, Kind, Served], bool]], ...] = (
    ("capability", can_do),
    ("max_cost", max_cost),
    ("fields", fields),
)


def standing_drop(ctx: Standing, state: UpstreamState) -> str | None:
    for name, passes in STANDING:
        if not passes(ctx, state):
            return name
    return None


def call_drop(rule: Rule, request: GenRequest, kind: Kind, served: Served) -> str | None:
    for name, passes in CALL:
        if not passes(rule, request, kind, served):
            return name
    return None
