"""What makes a request leave before its home is full: readings, its wait, its price, and nobody's word at all."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from gateway.model import STALE, Damped, Decision, OnStale, Policy, Snapshot, Spill, Threshold
from gateway.routing.board import HOLD_SECONDS, Board
from gateway.routing.decide import decide
from gateway.routing.forecast import wait_at
from gateway.routing.order import order, spill_reason
from gateway.routing.signals import damped_key, predicted_wait, spill_word
from tests.worlds import LIMIT, policy, reading, request, rule, state, upstream

DEEP = Threshold("queue_depth", True, False, 8.0)
WAIT = Threshold("predicted_wait_ms", True, False, 50.0)
CHEAP = Threshold("price_usd", False, False, 0.0002)
TYPICAL = 111_610
"""GPU-us of a request of mean size on a worker of `tests.worlds`: 0.04 ms x 1155 + (8 / 32 + 0.06) ms x 211."""


def spilling(*when: Threshold, on_stale: OnStale = "degrade", **changes: Any) -> Policy:
    return policy(rules=(rule(spill=Spill(("api",), when=when), on_stale=on_stale, **changes),))


def decided(made: Policy, snapshot: Snapshot, **asked: Any) -> Decision:
    return decide(request(**asked), Board(made, snapshot), Random(1))


def seen(made: Policy, **changes: Any) -> Snapshot:
    return Snapshot(100.0, {name: state(one, **changes) for name, one in made.upstreams.items()})


def word(made: Policy, snapshot: Snapshot) -> str | None:
    return spill_word(made.rules[0], "m", Board(made, snapshot))


@pytest.mark.parametrize(
    ("leased", "outside", "inflight", "limit", "seconds"),
    [
        (0, 0, 0, 1_000_000, 0.0),
        (900_000, 0, 9, 1_000_000, 0.0),
        (950_000, 0, 9, 1_000_000, 0.05),
        (900_000, 50_000, 9, 1_000_000, 0.05),
        (640_000, 0, 64, 1_000_000, 0.01),  # no seat: the next of 64 requests ends in a hundredth of a second
        (1_000_000, 0, 64, 1_000_000, 0.1),
        (0, 0, 0, 50_000, 0.0),  # an idle worker takes any request
    ],
)
def test_the_wait_for_room_and_for_a_seat(leased: int, outside: int, inflight: int, limit: int, seconds: float) -> None:
    there = state(upstream("w", "gpu"), leased=leased, outside=outside, inflight=inflight)
    assert wait_at(there, 100_000, limit) == pytest.approx(seconds)


def test_the_predicted_wait_is_that_of_the_worker_where_it_is_shortest_and_of_the_line() -> None:
    made = spilling(WAIT)
    snapshot = seen(made, leased=LIMIT)
    full = predicted_wait(made.rules[0], "m", Board(made, snapshot))
    assert full == pytest.approx(TYPICAL / 1e6, rel=0.01)
    states = {**snapshot.states, "w2": state(made.upstreams["w2"], leased=LIMIT // 2)}
    assert predicted_wait(made.rules[0], "m", Board(made, Snapshot(100.0, states))) == 0.0
    queued = Snapshot(100.0, snapshot.states, lines={"gpu": 3.0})
    assert predicted_wait(made.rules[0], "m", Board(made, queued)) == pytest.approx(3.0 + TYPICAL / 1e6, rel=0.01)
    assert predicted_wait(made.rules[0], "m", Board(made, seen(made, out="down"))) is None


def test_a_long_wait_makes_it_leave() -> None:
    made = spilling(WAIT)
    assert word(made, seen(made)) is None
    assert word(made, seen(made, leased=LIMIT)) == "predicted_wait_ms > 50"
    assert word(made, seen(made, out="down")) is None, "unknown is not over"


def test_a_state_is_followed_and_without_one_enter_holds_alone() -> None:
    made = spilling(DEEP)
    deep, shallow = seen(made, reading=reading(waiting=9)), seen(made, reading=reading(waiting=0))
    assert (word(made, deep), word(made, shallow)) == ("queue_depth > 8", None)
    key = damped_key(DEEP, made.rules[0], "m")
    assert word(made, Snapshot(100.0, deep.states, damped={key: Damped(False, 99.0)})) is None
    assert word(made, Snapshot(100.0, shallow.states, damped={key: Damped(True, 99.0)})) == "queue_depth > 8"


def test_the_price_is_that_of_this_request_at_the_cheapest_backend_it_could_spill_to() -> None:
    """1,000,000 prompt bytes are some 238,000 tokens: six cents at the cheap API, which has a quarter of the price."""
    two = (upstream("w1", "gpu"), upstream("a1", "api"), upstream("a2", "api2"))
    made = policy(two, (rule(spill=Spill(("api", "api2"), when=(CHEAP,))),))
    assert decided(made, seen(made)).spill_now == "price_usd < 0.0002"
    assert decided(made, seen(made), prompt_bytes=1_000_000).spill_now is None
    nobody = Snapshot(
        100.0, {name: state(one, out="down" if name != "w1" else None) for name, one in made.upstreams.items()}
    )
    assert decided(made, nobody).spill_now is None, "there is no price where nobody could take it"
    dear = Threshold("price_usd", True, True, 0.05)
    made = policy(two, (rule(spill=Spill(("api", "api2"), when=(dear,))),))
    assert decided(made, seen(made)).spill_now is None
    assert decided(made, seen(made), prompt_bytes=1_000_000).spill_now == "price_usd >= 0.05"


@pytest.mark.parametrize(
    ("on_stale", "age", "said"),
    [
        ("degrade", 9.0, "queue_depth > 8"),
        ("degrade", 11.0, None),
        ("hold", 11.0, "queue_depth > 8"),
        ("hold", HOLD_SECONDS + 1, None),
        ("spill", 9.0, "queue_depth > 8"),
        ("spill", 11.0, STALE),
    ],
)
def test_what_an_old_reading_means(on_stale: OnStale, age: float, said: str | None) -> None:
    made = spilling(DEEP, on_stale=on_stale)
    assert word(made, seen(made, reading=reading(100.0 - age, waiting=9))) == said


def test_while_our_own_store_is_away_no_worker_is_called_stale() -> None:
    made = spilling(on_stale="spill")
    old = seen(made, reading=reading(10.0))
    assert word(made, old) == STALE
    assert word(made, replace(old, degraded=True)) is None, "we cannot read, which says nothing about them"


def test_stale_means_every_worker_that_has_a_page_and_is_up() -> None:
    made = spilling(on_stale="spill")
    fresh, old = reading(99.0), reading(10.0)
    states = {name: state(one, reading=old) for name, one in made.upstreams.items()}
    stale = Snapshot(100.0, states)
    decision = decided(made, stale)
    assert order(decision)[0] is decision.overflow
    assert spill_reason(decision, decision.overflow[0], "slo_limit") == STALE
    assert word(made, seen(made)) == STALE, "nobody has told anything yet"
    assert word(made, Snapshot(100.0, {**states, "w1": state(made.upstreams["w1"], reading=fresh)})) is None
    only_fresh_is_down = {**states, "w1": state(made.upstreams["w1"], reading=fresh, out="unhealthy")}
    assert word(made, Snapshot(100.0, only_fresh_is_down)) == STALE
    mute = policy((upstream("w1", "gpu", engine="openai"), upstream("a1", "api")), made.rules)
    assert word(mute, seen(mute)) is None, "what publishes nothing cannot grow stale"
