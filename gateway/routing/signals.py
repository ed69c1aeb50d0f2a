"""What `spill.when` looks at, and which of its words makes a request leave before its home is full. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from gateway.model import STALE, Damped, DampedKey, GenRequest, Rule, Threshold, UpstreamState
from gateway.routing.board import FRESH_SECONDS, Board, Plan, Pool, holds, how_long
from gateway.routing.estimate import estimate, work_of
from gateway.routing.forecast import wait_at

EXACT = frozenset({"price_usd"})
"""Signals that are known of each request, and so are neither read nor damped."""
_WAIT = "predicted_wait_ms"
_MS = 1_000.0


def signals_of(rule: Rule, model: str, board: Board) -> Mapping[str, float]:
    """The readings that the thresholds of `rule` speak of, for requests to `model`; an unknown one is absent."""
    found = board.signals(rule.backends, how_long(rule))
    if rule.spill is None or all(one.signal != _WAIT for one in rule.spill.when):
        return found
    wait = predicted_wait(rule, model, board)
    return found if wait is None else {**found, _WAIT: wait * _MS}


def predicted_wait(rule: Rule, model: str, board: Board) -> float | None:
    """Seconds until a request of mean size finds room at home: at the worker where that is soonest, behind those that
    wait already. Of the whole limit, whatever the request's class; None where no worker is up."""
    learned, lines = board.known(model), board.snapshot.lines
    prompt, output = round(learned.prompt), round(learned.output)
    waits = []
    for state in _up(rule, board):
        limit = board.limit(state, model) if rule.learned else None
        work = work_of(state.upstream, prompt, output)
        waits.append(wait_at(state, work, state.upstream.limit if limit is None else limit))
    if not waits:
        return None
    return min(waits) + (lines.get(rule.backends[0], 0.0) if rule.backends else 0.0)


def stale(rule: Rule, board: Board) -> bool:
    """Whether no worker of the route that has a metrics page and is up has a fresh reading; false where there is none
    such: then `fallback` has the say, or nobody publishes anything. Nor while our store is away: readings come through
    it, so that their age says nothing about the workers."""
    if board.snapshot.degraded:
        return False
    readings = [state.reading for state in _up(rule, board) if state.upstream.scraped]
    oldest = board.snapshot.at - FRESH_SECONDS
    return bool(readings) and all(reading is None or reading.at < oldest for reading in readings)


def _up(rule: Rule, board: Board) -> Iterator[UpstreamState]:
    """The route's own workers that take traffic."""
    for backend in rule.backends:
        for state in board.states(backend):
            if state.upstream.kind == "local" and state.out is None:
                yield state


def spill_word(rule: Rule, model: str, board: Board) -> str | None:
    """Why requests under `rule` leave before their home is full: STALE, or the first reading that holds now, in the
    user's words."""
    if rule.spill is None:
        return None
    if rule.on_stale == "spill" and stale(rule, board):
        return STALE
    signals: Mapping[str, float] = signals_of(rule, model, board) if rule.spill.when else {}
    for one in rule.spill.when:
        if one.signal not in EXACT and holding(one, rule, model, board, signals):
            return in_words(one)
    return None


def holding(one: Threshold, rule: Rule, model: str, board: Board, signals: Mapping[str, float]) -> bool:
    """As its state says; without history as a first look would."""
    state: Damped | None = board.snapshot.damped.get(damped_key(one, rule, model))
    if state is not None:
        return state.on
    return holds(moved(one, rule.damp.enter), signals)


def damped_key(one: Threshold, rule: Rule, model: str) -> DampedKey:
    return DampedKey(rule.name, model, one, rule.damp, rule.backends, rule.on_stale, rule.learned)


def moved(threshold: Threshold, factor: float) -> Threshold:
    """`threshold` times `factor`; one with `<` divided by it, so that entering is the harder way on either side."""
    value = threshold.value * factor if threshold.above else threshold.value / factor
    return replace(threshold, value=value)


def price_word(plan: Plan, away: Sequence[Pool], request: GenRequest, board: Board) -> str | None:
    """The threshold on the price of this request that holds, in the user's words: at the cheapest of `away`, the
    backends that it could spill to now."""
    learned = board.known(plan.model.name)
    prices = [estimate(request, pool.served, learned).price for pool in away if pool.states]
    least = min((price for price in prices if price is not None), default=None)
    held = (one for one in plan.priced if least is not None and holds(one, {one.signal: least}))
    return next(map(in_words, held), None)


def in_words(threshold: Threshold) -> str:
    return f"{threshold.signal} {comparison(threshold)}"


def comparison(threshold: Threshold) -> str:
    sign = (">" if threshold.above else "<") + ("=" if threshold.inclusive else "")
    return f"{sign} {threshold.value:g}"
