"""decide(), with all that it remembers and puts off, against the same thing written down plainly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from random import Random
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.model import (
    CLASSES,
    Candidate,
    Demand,
    Estimate,
    GenRequest,
    Group,
    Match,
    Obstacle,
    PriorityClass,
    Rule,
    Snapshot,
    Spill,
    Tenant,
    Threshold,
    Upstream,
)
from gateway.routing.board import Board
from gateway.routing.capability import asked_at
from gateway.routing.decide import decide
from gateway.routing.estimate import expected_price, output_tokens, price_ceiling, prompt_tokens, work_on
from gateway.routing.fields import action
from gateway.routing.learn import Learned
from gateway.routing.residency import allows, strictest
from tests.worlds import demands, fleets, request, rule, state


class Words(NamedTuple):
    """A request that can be translated, or cannot."""

    against: Obstacle | None = None
    tools: bool = False

    def obstacle(self) -> Obstacle | None:
        return self.against

    def fields(self) -> Mapping[str, Any]:
        raise AssertionError("a decision looks at no body")


_NO_DEMAND = st.just(Demand())
KEYED: dict[str, st.SearchStrategy[Any]] = {
    "model": st.sampled_from(["m", "m2", "nope"]),
    "endpoint": st.sampled_from(["chat/completions", "responses", "messages"]),
    "tenant": st.sampled_from(
        [
            Tenant("t"),
            Tenant("u", models=("m*",)),
            Tenant("t", models=("m2",)),  # as it was before a change of the policy: the name alone tells nothing
            Tenant("t", residency=Demand(local=True)),
        ]
    ),
    "residency": _NO_DEMAND | demands,
    "priority": st.sampled_from(["interactive", "standard", "batch"]),
    "stream": st.booleans(),
}
"""What a decision remembers by."""
SIZES: dict[str, st.SearchStrategy[Any]] = {
    "prompt_bytes": st.integers(0, 10_000),
    "max_tokens": st.none() | st.integers(0, 1000),
    "n": st.integers(1, 3),
    "max_cost": st.none() | st.sampled_from([0.0, 1e-4, 1.0]),
    "fields": st.sampled_from([(), ("store",), ("n", "speed")]),
    "reworded": st.sampled_from([None, Words(), Words(Obstacle("n", "no"))]),
}


@st.composite
def much_alike(draw: st.DrawFn) -> list[GenRequest]:
    """A request, and others that differ from it in size and in one thing that a memo must tell apart."""
    first = request(**draw(st.fixed_dictionaries({}, optional=KEYED | SIZES)))
    changes = [st.fixed_dictionaries({name: kind}, optional=SIZES) for name, kind in KEYED.items()]
    return [first, *(replace(first, **draw(change)) for change in draw(st.permutations(changes)))]


matchings = st.builds(
    Match,
    model=st.sampled_from([(), ("m",), ("m*",), ("x*",), ("x*", "m")]),
    endpoint=st.sampled_from([(), ("chat/completions",), ("completions",)]),
    tenant=st.sampled_from([(), ("t",), ("u",), ("u", "t")]),
    tags=st.sampled_from([frozenset(), frozenset({"beta"})]),
    residency=st.sampled_from([None, "any", "none", "local", "eu", "de", "us"]),
    priority=st.sampled_from([(), ("standard",), ("batch",), ("batch", "interactive")]),
    stream=st.none() | st.booleans(),
)
conditions = st.fixed_dictionaries(
    {},
    optional={
        "out": st.just("down"),
        "limit": st.integers(1, 10**6),
        "outside": st.integers(0, 1000),
        "life": st.integers(0, 9),
    },
)


QUIET = Threshold("load", above=False, inclusive=True, value=0.001)


@st.composite
def boards(draw: st.DrawFn) -> Board:
    """Two models, several rules, upstreams of all conditions."""
    made = draw(fleets())
    backends = st.lists(st.sampled_from(sorted(made.backends)), unique=True, min_size=1, max_size=2).map(tuple)
    told = st.builds(
        rule,
        match=matchings,
        backends=backends,
        spill=st.none() | st.builds(Spill, backends),
        fallback=st.just(()) | backends,
        classes=st.sampled_from([CLASSES, {name: PriorityClass(0.5, spill=False) for name in CLASSES}]),
        residency=_NO_DEMAND | demands,
        on_fields=st.sampled_from([{}, {"store": "pass"}, {"store": "refuse", "n": "refuse"}]),
        filters=st.sampled_from([(), (QUIET,)]),
    )
    rules = [replace(one, name=f"r{number}") for number, one in enumerate(draw(st.lists(told, max_size=4)))]
    model = made.models["m"]
    other = replace(model, name="m2", served_by=model.served_by[:1], residency=draw(_NO_DEMAND | demands))
    made = replace(made, rules=(*rules, *made.rules), models={"m": model, "m2": other})
    states = {name: state(one, **draw(conditions)) for name, one in made.upstreams.items()}
    learned = draw(st.sampled_from([{}, {"m": Learned(1000, 3000, 400, 100)}]))
    return Board(made, Snapshot(100.0, states, learned=learned))


class Told(NamedTuple):
    """A decision as far as chance has no part in it; groups are (backend, outcome, reason, name -> candidate)."""

    rule: str
    demand: Demand
    permitted: frozenset[str]
    primary: list[Any]
    overflow: list[Any]


def plainly(asked: GenRequest, board: Board, failed: frozenset[str]) -> tuple[Told | None, dict[str, int]]:
    """What must be decided, or None for a refusal; and the drops."""
    policy, model, tenant, drops = board.policy, board.policy.models.get(asked.model), asked.tenant, Counter[str]()
    if model is None or (tenant.models is not None and not any(fnmatchcase(model.name, g) for g in tenant.models)):
        return None, drops
    wanted = strictest(asked.residency, tenant.residency, model.residency)
    chosen = next(one for one in policy.rules if fits(one.match, asked, wanted, board))
    demand = strictest(wanted, chosen.residency)
    served_by = {served.backend: served for served in model.served_by}

    empty: list[Any] = []

    def groups(backends: tuple[str, ...], outcome: str | None, reason: str) -> list[Any]:
        made = []
        for backend in backends:
            rows, loaded = {}, drops["load"]
            for one in policy.backends[backend]:
                why = dropped(one, asked, board, chosen, demand, failed) if backend in served_by else "capability"
                if why is None:
                    rows[one.name] = row(one, asked, board, chosen)
                else:
                    drops[why] += 1
            ours = policy.backends[backend][0].kind == "local"
            words = (outcome, reason) if outcome else ("local", reason) if ours else ("managed", "rule")
            made += [(backend, *words, rows)] if rows else []
            if drops["load"] > loaded and not rows:
                empty.append((backend, *words, rows))
        return made

    may = chosen.classes[asked.priority].spill
    spill, fallback = chosen.spill.backends if chosen.spill else (), chosen.fallback
    primary = groups(chosen.backends, None, "residency" if demand else "local_has_room")
    if primary:
        overflow = groups(spill if may else (), "spilled", "slo_limit")
    elif drops["load"]:
        overflow = groups(spill if may else (), "spilled", "slo_limit")
        primary = [empty[0]]
    elif drops["health"] or drops["failed_before"]:
        overflow = groups(fallback if may else (), "fallback", "no_healthy_worker")
    else:
        overflow = groups(spill if may else (), "spilled", "residency" if drops["residency"] else "capability")
    permitted = frozenset(
        one.name
        for backend in {*chosen.backends, *spill, *fallback} & set(served_by)
        for one in policy.backends[backend]
        if allows(demand, one, policy.zones)
    )
    found = {why: count for why, count in drops.items() if count}
    return (Told(chosen.name, demand, permitted, primary, overflow) if primary or overflow else None), found


def fits(match: Match, asked: GenRequest, wanted: Demand, board: Board) -> bool:
    held = {"any"} if wanted else {"none"}
    held |= {"local"} if wanted.local else set()
    held |= {around for zone in wanted.zones for around in board.policy.zones[zone]}
    return (
        (match.model == () or any(fnmatchcase(asked.model, glob) for glob in match.model))
        and (match.endpoint == () or asked.endpoint in match.endpoint)
        and (match.tenant == () or asked.tenant.name in match.tenant)
        and all(tag in asked.tenant.tags for tag in match.tags)
        and (match.residency is None or match.residency in held)
        and (match.priority == () or asked.priority in match.priority)
        and match.stream in (None, asked.stream)
    )


def dropped(
    one: Upstream, asked: GenRequest, board: Board, chosen: Rule, demand: Demand, failed: frozenset[str]
) -> str | None:
    price = board.policy.models[asked.model].served_by
    ceiling = next((price_ceiling(s.price, asked) for s in price if s.backend == one.backend and s.price), 0.0)
    if not allows(demand, one, board.policy.zones):
        return "residency"
    if asked_at(one, asked.endpoint) is None:
        return "capability"
    if board.snapshot.states[one.name].out:
        return "health"
    now = board.snapshot.states[one.name]
    if chosen.filters and now.outside / (now.limit or one.limit) > QUIET.value:
        return "load"
    if one.name in failed:
        return "failed_before"
    if asked_at(one, asked.endpoint) != asked.endpoint and (not asked.reworded or asked.reworded.obstacle()):
        return "capability"
    if one.kind == "managed" and asked.max_cost is not None and (ceiling is None or ceiling > asked.max_cost):
        return "max_cost"
    if any(action(chosen, one.kind, name) == "refuse" for name in asked.fields):
        return "fields"
    return None


def row(one: Upstream, asked: GenRequest, board: Board, chosen: Rule) -> Candidate:
    model, now = board.policy.models[asked.model], board.snapshot.states[one.name]
    served = next(served for served in model.served_by if served.backend == one.backend)
    learned = board.known(model.name)
    limit = now.limit or one.limit
    if one.kind == "local":
        limit = max(1, int(limit * chosen.classes[asked.priority].share))
    price = served.price and expected_price(served.price, asked, learned)
    most = served.price and price_ceiling(served.price, asked)
    work = min(limit, work_on(one, asked, learned))
    most = price if most is None else most
    ask = Estimate(prompt_tokens(asked, learned), output_tokens(asked, learned), price, most)
    return Candidate(one, served, 0.0, work, limit, one.seats, now.outside, now.life, ask)


def actually(
    asked: GenRequest, board: Board, failed: frozenset[str], *, overflow_first: bool
) -> tuple[Told | None, dict[str, int]]:
    """The same of `decide`; whoever looks at the overflow may do so before or after looking at home."""
    try:
        made = decide(asked, board, Random(1), excluded=failed)
    except GatewayError as refusal:
        return None, dict(refusal.drops)
    overflow = groups_of(made.overflow) if overflow_first else None
    primary = groups_of(made.primary)
    overflow = groups_of(made.overflow) if overflow is None else overflow
    return Told(made.rule.name, made.demand, made.permit.upstreams, primary, overflow), dict(made.drops)


def groups_of(made: tuple[Group, ...]) -> list[Any]:
    rows = [{candidate.upstream.name: candidate for candidate in group.candidates} for group in made]
    return [(group.backend, group.outcome, group.reason, row) for group, row in zip(made, rows, strict=True)]


@settings(max_examples=120)
@given(boards(), much_alike(), st.data(), st.booleans())
def test_what_is_remembered_or_put_off_changes_nothing(
    board: Board, asked: list[GenRequest], data: st.DataObject, overflow_first: bool
) -> None:
    failed = data.draw(st.frozensets(st.sampled_from(sorted(board.policy.upstreams)), max_size=2))
    for one in (*asked, *asked):
        assert actually(one, board, failed, overflow_first=overflow_first) == plainly(one, board, failed)
