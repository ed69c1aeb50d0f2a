"""The whole account of a rehearsed decision: the end, and the way there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from gateway.errors import GatewayError, ModelNotFound
from gateway.model import STALE, Decision, GenRequest
from gateway.money.budgets import WINDOW_MINUTES, first_to_leave
from gateway.policy.case_schema import RequestIn
from gateway.rehearsal.changes import Change, changes
from gateway.rehearsal.ending import Result, ending, refusal
from gateway.rehearsal.rows import NOT_NEEDED, Row, Scene, rows
from gateway.rehearsal.rules import Missed, missed, sources
from gateway.rehearsal.thresholds import Seen, seen
from gateway.rehearsal.words import percent, rounded_up, usd
from gateway.rehearsal.world import World, ask, decided, left_of
from gateway.routing.board import Board, Plan
from gateway.routing.estimate import output_tokens, prompt_tokens
from gateway.routing.pickers import MAX_SAMPLED
from gateway.routing.plan import plan_of
from gateway.routing.units import units_of
from gateway.routing.worth import LEFT_TO_CHEAP


@dataclass(frozen=True, slots=True)
class Story:
    """`as_data` gives it in a stable shape, the one that docs/policies.md describes."""

    result: Result
    policy: str
    at: float
    request: Mapping[str, Any]
    """What routing saw of the request; empty where it could not be read."""
    rule: str | None = None
    missed: tuple[Missed, ...] = ()
    residency: tuple[str, ...] = ()
    sources: Mapping[str, tuple[str, ...]] | None = None
    max_wait: float | None = None
    upstreams: tuple[Row, ...] = ()
    """One for each upstream that the rule names."""
    thresholds: tuple[Seen, ...] = ()
    notes: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()

    @property
    def drops(self) -> dict[str, str]:
        """Upstream -> the first reason that keeps the request from it."""
        return {
            row["upstream"]: row["dropped"] for row in self.upstreams if row.get("dropped") not in (None, NOT_NEEDED)
        }

    @property
    def candidates(self) -> list[str]:
        """Who may take it, full or not."""
        return [row["upstream"] for row in self.upstreams if "dropped" not in row]

    def as_data(self) -> dict[str, Any]:
        return {
            "result": dict(self.result),
            "policy": self.policy,
            "at": datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds"),
            "request": dict(self.request),
            "rule": self.rule,
            "missed": [asdict(one) for one in self.missed],
            "residency": list(self.residency),
            "sources": {name: list(said) for name, said in (self.sources or {}).items()},
            "max_wait": self.max_wait,
            "upstreams": list(self.upstreams),
            "drops": dict(Counter(self.drops.values())),
            "thresholds": [one.row() for one in self.thresholds],
            "notes": list(self.notes),
            "changes": [change.row() for change in self.changes],
        }


def tell(world: World, request: RequestIn, *, what_if: bool = True) -> Story:
    """What would happen to `request` in `world`, and why. Raises nothing of the gateway's.

    `what_if`: also what would change the answer, which takes some hundred decisions more.
    """
    begun = Story({}, world.policy.version, world.snapshot.at, {})
    try:
        asked = ask(world.policy, request)
    except GatewayError as error:
        return replace(begun, result=refusal(error))
    begun = replace(begun, request=shown(world, asked))
    board = world.board()
    try:
        plan = plan_of(asked, board)
    except GatewayError as error:
        unmatched = isinstance(error, ModelNotFound) and asked.model in world.policy.models
        return replace(begun, result=refusal(error), missed=missed(world, asked, None) if unmatched else ())
    decision, result = _decide(world, asked)
    told = replace(_planned(begun, world, asked, board, plan, decision), result=result)
    if not what_if:
        return told
    return replace(told, changes=changes(world, request, plan.rule, result, told.upstreams, told.thresholds))


def _decide(world: World, asked: GenRequest) -> tuple[Decision | None, Result]:
    try:
        decision = decided(world, asked)
    except GatewayError as error:
        return None, refusal(error)
    return decision, ending(decision, asked, world)


def _planned(
    begun: Story, world: World, asked: GenRequest, board: Board, plan: Plan, decision: Decision | None
) -> Story:
    rule = plan.rule
    scene = Scene(world, board, plan, asked, decision)
    said = {name: tuple(demand.words()) for name, demand in sources(world, asked, rule).items()}
    return replace(
        begun,
        rule=rule.name,
        missed=missed(world, asked, rule.name),
        residency=tuple(plan.demand.words()),
        sources=said,
        max_wait=None if decision is None else decision.max_wait,
        upstreams=rows(scene),
        thresholds=seen(board, plan, asked),
        notes=notes(scene),
    )


def shown(world: World, asked: GenRequest) -> dict[str, Any]:
    """Names, numbers and enumerations: nothing that a caller wrote."""
    learned = world.board().known(asked.model)
    return {
        "model": asked.model,
        "endpoint": asked.endpoint,
        "tenant": asked.tenant.name,
        "priority": asked.priority,
        "stream": asked.stream,
        "prompt_tokens": prompt_tokens(asked, learned),
        "output_tokens": output_tokens(asked, learned),
        **({} if asked.media is None else {"units": units_of(asked.endpoint, asked.media)}),
    }


def notes(scene: Scene) -> tuple[str, ...]:
    """What else had its part in it."""
    return (*_of_class(scene), *_of_decision(scene), *_of_money(scene))


def _of_class(scene: Scene) -> Iterator[str]:
    if scene.world.snapshot.degraded:
        yield "the store is away: the fleet is as this replica last saw it"
    priority = scene.asked.priority
    cheap = scene.decision is not None and scene.decision.cheap
    share, why = (scene.plan.share * LEFT_TO_CHEAP, ", for they are cheap to buy") if cheap else (scene.plan.share, "")
    if share < 1:
        yield f"{priority} requests may fill {share:g} of a worker's limit{why}"
    if scene.ahead:
        yield f"those who wait in line already will take {rounded_up(scene.ahead):g} s"


def _of_decision(scene: Scene) -> Iterator[str]:
    decision = scene.decision
    if decision is None:
        return
    if decision.spill_now == STALE:
        yield "no worker has a fresh reading, and the rule spills then"
    if decision.max_wait:
        yield f"waits up to {decision.max_wait:g} s for room at home"
    if decision.kept_wait > decision.max_wait:
        yield f"waits up to {decision.kept_wait:g} s where it cannot leave"
    if decision.rule.picker != "best":
        yield f"picker {decision.rule.picker}: who of them is taken is chance, and another request may differ"
    yield from _of_versions(scene, decision)
    for group in (*decision.primary, *decision.overflow):
        whole = len(scene.world.policy.backends[group.backend])
        if whole > len(group.candidates) >= MAX_SAMPLED:
            yield f"{group.backend}: each request asks {len(group.candidates)} of its {whole} upstreams, by chance"


def _of_versions(scene: Scene, decision: Decision) -> Iterator[str]:
    weights = scene.plan.versions
    if not weights:
        return
    if not scene.asked.session:
        total = sum(weights.values())
        split = ", ".join(f"{name} {percent(weight / total)}" for name, weight in weights.items())
        yield f"versions: {split} of the sessions; without `X-Gateway-Session` each request is one of its own"
    given = {one.served.version for group in decision.primary for one in group.candidates}
    if decision.version is None or not given:
        return
    if decision.version not in given:
        yield f"its session belongs to {decision.version}, which no worker can serve now"
    elif scene.asked.session:
        yield f"its session belongs to {decision.version}"


def _of_money(scene: Scene) -> Iterator[str]:
    spill, booked = scene.plan.rule.spill, scene.world.booked(scene.plan.rule.name)
    if spill is None or (spill.budget_usd_per_hour is None and spill.max_share is None):
        return
    if booked is None:
        yield "the store, which keeps its share and its budget, is away: nothing leaves"
        return
    if spill.budget_usd_per_hour is not None:
        yield f"budget: {usd(booked.usd)} of {usd(spill.budget_usd_per_hour)} spent in the last hour"
    if spill.max_share is not None:
        yield f"share: {left_of(booked)} left lately, {percent(spill.max_share)} may"
        first = first_to_leave(spill.max_share)
        if first > 1:
            span = f"{WINDOW_MINUTES} minutes"
            yield f"max_share {spill.max_share:g}: nobody leaves before request {first} of {span}"
