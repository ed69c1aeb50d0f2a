"""Rules of routing.yaml, checked already, as the model's: milliseconds become seconds, objectives weights."""

from __future__ import annotations

from collections.abc import Collection
from types import MappingProxyType
from zoneinfo import ZoneInfo

from gateway.model import (
    CLASSES,
    Damp,
    Demand,
    Hedge,
    Match,
    Priority,
    PriorityClass,
    Rule,
    Slo,
    Spill,
    Threshold,
    Timeouts,
    TokenBounds,
    Window,
)
from gateway.policy.cel import compile_condition
from gateway.policy.match_schema import MatchIn, TokenRange, WindowIn
from gateway.policy.route_schema import ClassIn, FiltersIn, HedgeIn, RouteIn, RuleIn, SloIn, SpillIn, When
from gateway.policy.words import threshold
from gateway.routing.residency import parse_demand
from gateway.routing.scorers import weights

WAIT_WHERE_NOTHING_SPILLS = 20.0
"""Default `max_wait` in seconds, also of a request that cannot leave, whatever keeps it; 0 before it spills: waiting
there buys little."""
_MS = 1_000
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def demand(text: str | None, zones: frozenset[str]) -> Demand:
    return parse_demand(text, zones, param="residency")


def compile_rule(rule: RuleIn, route: RouteIn, zones: frozenset[str], backends: Collection[str]) -> Rule:
    """`route` is the effective one, with what it inherits; `backends` are all names that the policy has."""
    wait = 0.0 if route.spill is not None else WAIT_WHERE_NOTHING_SPILLS
    timeouts = {} if route.timeouts is None else route.timeouts.model_dump(exclude_none=True)
    aims = {} if route.objective is None else route.objective.model_dump()
    written = {} if route.scorers is None else route.scorers.model_dump(exclude_none=True)
    return Rule(
        name=rule.name,
        match=_match(rule.match, backends),
        backends=route.backends or (),
        slo=_slo(route.slo),
        max_wait=wait if route.max_wait is None else route.max_wait,
        spill=None if route.spill is None else _spill(route.spill),
        fallback=route.fallback,
        attempts=route.attempts,
        timeouts=Timeouts(**timeouts),
        timeouts_said=tuple(timeouts),
        residency=demand(route.residency, zones),
        on_fields=MappingProxyType({str(name): action for name, action in route.fields.items()}),
        learned=route.limit == "learned",
        ranked=route.objective is not None,
        scorers=weights(aims, written),
        filters=_thresholds(route.filters),
        picker=route.picker,
        damp=Damp(route.damp.enter, route.damp.exit, route.damp.dwell),
        on_stale=route.on_stale,
        classes=MappingProxyType({name: _class(name, route.classes.get(name)) for name in CLASSES}),
        max_cost=route.max_cost_usd,
        hedge=None if route.hedge is None else _hedge(route.hedge),
        rescue=route.rescue,
        max_queue=route.max_queue,
        starve_after=route.starve_after,
        kept_wait=WAIT_WHERE_NOTHING_SPILLS if route.max_wait is None else route.max_wait,
    )


def _match(match: MatchIn, backends: Collection[str]) -> Match:
    return Match(
        model=match.model or (),
        modality=match.modality or (),
        endpoint=match.endpoint or (),
        tenant=match.tenant or (),
        tags=frozenset(match.tags or ()),
        residency=match.residency,
        priority=match.priority or (),
        stream=match.stream,
        prompt_tokens=_bounds(match.prompt_tokens),
        output_tokens=_bounds(match.output_tokens),
        headers=tuple((name.lower(), glob) for name, glob in (match.headers or {}).items()),
        time=tuple(_window(window) for window in match.time or ()),
        when=None if match.when is None else compile_condition(match.when, backends),
    )


def headers_of(match: Match) -> frozenset[str]:
    """The request headers, in lower case, that it looks at."""
    return frozenset(name for name, _ in match.headers) | (match.when.headers if match.when else frozenset())


def _bounds(given: TokenRange | None) -> TokenBounds | None:
    return None if given is None else (given.min, given.max)


def _window(window: WindowIn) -> Window:
    days = frozenset(_DAYS.index(day) for day in window.days)
    return Window(days, _minutes(window.from_), _minutes(window.to), ZoneInfo(window.timezone))


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


def _slo(slo: SloIn | None) -> Slo:
    if slo is None:
        return Slo()
    ttft, tpot, total = (None if ms is None else ms / _MS for ms in (slo.ttft_ms, slo.tpot_ms, slo.total_ms))
    return Slo(ttft, tpot, slo.target, total)


def _spill(spill: SpillIn) -> Spill:
    return Spill(spill.backends, spill.budget_usd_per_hour, _thresholds(spill.when), spill.max_share, spill.order)


def _thresholds(written: When | FiltersIn | None) -> tuple[Threshold, ...]:
    found = {} if written is None else written.model_dump(exclude_none=True)
    return tuple(threshold(signal, comparison) for signal, comparison in found.items())


def _class(name: Priority, written: ClassIn | None) -> PriorityClass:
    usual = CLASSES[name]
    if written is None:
        return usual
    return PriorityClass(
        share=usual.share if written.share is None else written.share,
        max_wait=written.max_wait,
        spill=usual.spill if written.spill is None else written.spill,
        shed=usual.shed if written.shed is None else written.shed,
        below=usual.below if written.below is None else written.below,
    )


def _hedge(hedge: HedgeIn) -> Hedge:
    return Hedge(None if hedge.after == "p95" else hedge.after, hedge.budget)
