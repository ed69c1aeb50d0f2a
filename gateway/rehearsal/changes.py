"""What would change the answer: the same request decided again, with one thing changed at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from gateway.errors import GatewayError
from gateway.model import Rule, Threshold
from gateway.money.budgets import FEWEST_ARRIVALS
from gateway.policy.case_schema import RequestIn
from gateway.rehearsal.ending import TELLING, WAITS, Result, differing, end, rehearse
from gateway.rehearsal.rows import Row
from gateway.rehearsal.thresholds import Seen
from gateway.rehearsal.waiting import soonest, unheld
from gateway.rehearsal.words import percent, rounded_up, usd
from gateway.rehearsal.world import World, ask, decided, left_of
from gateway.routing.affinity import share
from gateway.routing.below import seconds_until
from gateway.routing.plan import plan_of
from gateway.routing.signals import comparison, moved

MOST_WORKERS = 6
"""Of a large fleet only the workers next to taking the request are tried."""
FULL = 1.2
"""A load at which nothing fits."""
HEADERS = ("X-Data-Residency", "X-Gateway-Priority", "X-Gateway-Max-Wait-Ms", "X-Gateway-Max-Cost-Usd")
READINGS: Mapping[str, str] = {"queue_depth": "waiting", "gpu_util": "gpu", "kv_util": "kv"}
"""Signal of `spill.when` -> the reading that it is the mean of."""
_METADATA = "metadata.data_residency"
_FINE = 1000
"""Loads are tried in thousandths of the limit."""
_NUDGE = 1e-6
_US = 1e6


@dataclass(frozen=True, slots=True)
class Change:
    """If `condition` (data, and `text` for people) were so, `result` would come out."""

    text: str
    condition: Mapping[str, Any]
    result: Result
    new: tuple[str, ...] = ()
    """The names of `result` that are not as they would be without the change."""

    def __str__(self) -> str:
        rule, reason = self.result.get("rule"), self.result.get("reason")
        also = f", rule {rule}" if "rule" in self.new and rule else ""
        also += f", because {reason}" if self.new == ("reason",) else ""
        at_once = WAITS in self.new and WAITS not in self.result and "outcome" in self.result
        also = (" at once" if at_once else "") + also
        return f"{self.text}: {end(self.result)}{also}"

    def row(self) -> dict[str, Any]:
        return {"if": dict(self.condition), "text": str(self), "then": dict(self.result)}


def changes(
    world: World,
    request: RequestIn,
    rule: Rule,
    result: Result,
    rows: tuple[Row, ...],
    thresholds: tuple[Seen, ...],
) -> tuple[Change, ...]:
    """Every change tried that has another result than `result`, and not only another worker of the same backend."""
    found = [
        *_headers(world, request),
        *_loads(world, request, result, rows),
        *_fullness(world, request, rule),
        *_health(world, request, result, rows),
        *_signals(world, request, rule, thresholds),
        *_wait(world, request, rule, result),
        *_money(world, request, rule),
        *_without(world, request, rule),
    ]
    told = [replace(one, new=differing(one.result, result)) for one in found]
    return tuple(one for one in told if one.new and not (one.new == ("upstream",) and _equals(one.result, result)))


def _equals(one: Result, other: Result) -> bool:
    return one.get("backend") == other.get("backend")


def _headers(world: World, request: RequestIn) -> Iterator[Change]:
    """Without each header that has a say; with another priority."""
    watched = {name.lower() for name in HEADERS} | world.policy.headers
    for name in request.headers:
        if name.lower() in watched:
            left = {other: value for other, value in request.headers.items() if other != name}
            without = request.model_copy(update={"headers": left})
            yield Change(f"without {name}", {"without_header": name}, rehearse(world, without))
    metadata = request.body.get("metadata")
    if isinstance(metadata, dict) and "data_residency" in metadata:
        left = {name: value for name, value in metadata.items() if name != "data_residency"}
        without = request.model_copy(update={"body": {**request.body, "metadata": left}})
        yield Change(f"without {_METADATA}", {"without_field": _METADATA}, rehearse(world, without))
    if "x-data-residency" not in {name.lower() for name in request.headers}:
        yield _with_header(world, request, "X-Data-Residency", "local")
    if "x-gateway-priority" not in {name.lower() for name in request.headers}:
        for priority in ("interactive", "batch"):
            yield _with_header(world, request, "X-Gateway-Priority", priority)


def _with_header(world: World, request: RequestIn, name: str, value: str) -> Change:
    given = request.model_copy(update={"headers": {**request.headers, name: value}})
    return Change(f"with {name}: {value}", {"header": name, "value": value}, rehearse(world, given))


def _loads(world: World, request: RequestIn, result: Result, rows: tuple[Row, ...]) -> Iterator[Change]:
    """The load at which each worker nearest to it would take the request, and at which the chosen one loses it. Workers
    of equal load, of which any would do, share a line."""
    home = [row for row in rows if row["role"] == "home" and row.get("sampled")]
    chosen = result.get("upstream")
    others = sorted((row for row in home if row["upstream"] != chosen), key=lambda row: float(row["after"]))
    alike: dict[tuple[Any, ...], list[str]] = {}
    found: dict[tuple[Any, ...], Result] = {}
    for row in [*(row for row in home if row["upstream"] == chosen), *others[:MOST_WORKERS]]:
        if row["inflight"] >= row["seats"]:
            yield _seat(world, request, row)
            continue
        crossed = crossing(world, request, row)
        if crossed is None:
            continue
        edge, side = crossed
        then = rehearse(at_load(world, row, edge), request)
        end_of = {name: value for name, value in then.items() if name in TELLING and value != row["upstream"]}
        key = (edge, row["load"], side, *end_of.items())
        alike.setdefault(key, []).append(row["upstream"])
        found.setdefault(key, then)
    for key, names in alike.items():
        edge, now, side, *_ = key
        whose = f"{names[0]}'s load" if len(names) == 1 else f"the load of any of {', '.join(names)}"
        text = f"if {whose} were {side} {edge:g} (now {now:.4g})"
        condition = {"upstream": names[0], "any_of": names, "load": {side.replace(" ", "_"): edge}}
        yield Change(text, condition, found[key])


def _seat(world: World, request: RequestIn, row: Row) -> Change:
    """One request less where every seat is taken, and its share of the work with it."""
    name, held = row["upstream"], row["inflight"]
    leased = world.state(name).leased * (held - 1) // held
    text = f"if {name} held one request less ({held} of {row['seats']} seats are taken)"
    less = world.where(name, inflight=row["seats"] - 1, leased=leased)
    return Change(text, {"upstream": name, "inflight": row["seats"] - 1}, rehearse(less, request))


def crossing(world: World, request: RequestIn, row: Row) -> tuple[float, str] | None:
    """The first load, in thousandths of the limit, at which `row`'s upstream ceases to take the request at once, or
    begins to, and on which side of it that holds. As it is written it can be tried as a fleet's `load`."""

    def takes(thousandths: float) -> bool:
        then = rehearse(at_load(world, row, thousandths / _FINE), request)
        return then.get("upstream") == row["upstream"] and WAITS not in then

    now = float(row["load"]) * _FINE
    taken = takes(now)
    stays, turns = (math.floor(now), round(FULL * _FINE)) if taken else (math.ceil(now), 0)
    if takes(turns) is taken:
        return None
    while abs(turns - stays) > 1:
        middle = (stays + turns) // 2
        if takes(middle) is taken:
            stays = middle
        else:
            turns = middle
    return turns / _FINE, "at least" if taken else "at most"


def at_load(world: World, row: Row, load: float) -> World:
    return world.where(row["upstream"], leased=round(load * row["limit"]))


def _fullness(world: World, request: RequestIn, rule: Rule) -> Iterator[Change]:
    """Each backend that is too full for the request's class (`below`), just less full than that."""
    asked = ask(world.policy, request)
    below = rule.classes[asked.priority].below
    for pool in plan_of(asked, unheld(asked, rule, world).board()).home if below < 1 else ():
        if pool.kind == "managed" or (seconds := seconds_until(pool.states, below)) <= 0:
            continue
        there = world
        for state in pool.states:
            there = there.where(state.upstream.name, leased=max(0, state.leased - math.ceil(seconds * _US) - 1))
        now = fmean(share(state) for state in pool.states)
        text = f"if {pool.backend} were less than {percent(below)} full on average (now {percent(now)})"
        yield Change(text, {"backend": pool.backend, "mean_load": {"below": below}}, rehearse(there, request))


def _health(world: World, request: RequestIn, result: Result, rows: tuple[Row, ...]) -> Iterator[Change]:
    """Who is out or drained comes back, one at a time; the chosen one goes."""
    out = [row for row in rows if row.get("dropped") in ("health", "drained")]
    for row in out[:MOST_WORKERS]:
        name, then = row["upstream"], rehearse(world.where(row["upstream"], out=None), request)
        if row["dropped"] == "drained":
            yield Change(f"if {name} were not drained", {"upstream": name, "drained": False}, then)
        else:
            yield Change(f"if {name} were up", {"upstream": name, "healthy": True}, then)
    chosen = result.get("upstream")
    if chosen is not None:
        down = world.where(chosen, out="unhealthy")
        yield Change(f"if {chosen} were down", {"upstream": chosen, "healthy": False}, rehearse(down, request))


def _signals(world: World, request: RequestIn, rule: Rule, thresholds: tuple[Seen, ...]) -> Iterator[Change]:
    """Each threshold of `spill.when` on its other side, as a first look sees it: without what damping remembers."""
    for one in thresholds:
        name = one.threshold.signal
        if name not in READINGS:
            continue
        edge = moved(one.threshold, rule.damp.enter)
        there = read_as(world, rule, name, beyond(edge, not one.holds))
        now = "unknown" if one.value is None else f"{one.value:.4g}"
        word = "were not" if one.holds else "were"
        yield Change(
            f"if {name} {word} {comparison(edge)} (now {now})",
            {"signal": name, "comparison": comparison(edge), "holds": not one.holds},
            rehearse(there, request),
        )


def beyond(threshold: Threshold, holding: bool) -> float:
    """A value just where `threshold` holds, or just where it does not."""
    step = max(_NUDGE, abs(threshold.value) * _NUDGE)
    return threshold.value + (step if threshold.above is holding else -step)


def read_as(world: World, rule: Rule, signal: str, value: float) -> World:
    """All workers of the rule publish `value` now, and nobody knows what was before."""
    at = world.snapshot.at
    world = replace(world, snapshot=replace(world.snapshot, damped={}))
    for backend in rule.backends:
        for upstream in world.policy.backends[backend]:
            reading = world.state(upstream.name).reading
            if upstream.kind == "local" and reading is not None:
                told: dict[str, Any] = {"at": at, READINGS[signal]: value}
                world = world.where(upstream.name, reading=replace(reading, **told))
    return world


def _wait(world: World, request: RequestIn, rule: Rule, result: Result) -> Iterator[Change]:
    """A longer `max_wait`, where room at home is to be expected within it."""
    if result.get("outcome") == "local":
        return
    try:
        asked = ask(world.policy, request)
        decision = decided(world, asked)
    except GatewayError:
        return
    room = soonest(decision, asked, world)
    if room is None or room.seconds <= decision.max_wait:
        return
    seconds = rounded_up(room.seconds)
    classes = {name: replace(one, max_wait=one.max_wait and seconds) for name, one in rule.classes.items()}
    patient = replace(rule, max_wait=seconds, classes=classes)
    rules = tuple(patient if other is rule else other for other in world.policy.rules)
    there = world.under(replace(world.policy, rules=rules))
    yield Change(f"with max_wait {seconds:g}s", {"max_wait": seconds}, rehearse(there, request))


def _money(world: World, request: RequestIn, rule: Rule) -> Iterator[Change]:
    """The budget and the share of the rule, spent or untouched."""
    spill, booked = rule.spill, world.booked(rule.name)
    if spill is None or booked is None:
        return
    if spill.budget_usd_per_hour is not None:
        for spent in (0.0, spill.budget_usd_per_hour):
            there = world.with_booked(rule.name, booked._replace(usd=spent))
            text = f"if {usd(spent)} of its budget were spent"
            yield Change(text, {"rule": rule.name, "spent_usd": spent}, rehearse(there, request))
    if spill.max_share is not None:
        arrived = max(booked.arrived, FEWEST_ARRIVALS)
        for left in (0, math.floor(spill.max_share * arrived + _NUDGE)):
            given = booked._replace(left=left)
            there = world.with_booked(rule.name, given)
            text = f"if {left_of(given)} had left lately"
            yield Change(text, {"rule": rule.name, "share": left / arrived}, rehearse(there, request))


def _without(world: World, request: RequestIn, rule: Rule) -> Iterator[Change]:
    """The rule itself taken away."""
    rules = tuple(other for other in world.policy.rules if other is not rule)
    if rules:
        left = world.under(replace(world.policy, rules=rules))
        yield Change(f"without rule {rule.name}", {"without_rule": rule.name}, rehearse(left, request))
