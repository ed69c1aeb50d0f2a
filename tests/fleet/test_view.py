from __future__ import annotations

from random import Random

import pytest

from gateway.fleet import readings
from gateway.fleet.circuits import Circuits
from gateway.fleet.leases import Leases, new_owner
from gateway.fleet.lessons import Forgetting, Lessons
from gateway.fleet.view import Hooks, View, mean_work
from gateway.fleet.warmups import FIRST_SHARE
from gateway.model import RATE_LIMITED, Allowance, Damp, Damped, Policy, Scrape, Spill, Threshold
from gateway.routing.board import Board
from gateway.routing.damping import step
from gateway.routing.decide import decide
from gateway.routing.learn import MEMORY, PRIOR, PRIOR_WEIGHT
from gateway.routing.pickers import pick
from gateway.routing.signals import damped_key
from gateway.store.connection import Store
from tests.fleet.leasing import candidate
from tests.worlds import policy, request, rule, state, upstream


def view_of(store: Store, made: Policy, hooks: Hooks | None = None) -> tuple[View, Leases]:
    leases = Leases(store, new_owner(), fresh=True)
    lessons = Lessons(store, Forgetting(PRIOR, PRIOR_WEIGHT, MEMORY))
    return View(store, leases, lessons, lambda: made, Circuits(), hooks=hooks), leases


async def test_a_snapshot_holds_readings_leases_and_ages(valkey: Store) -> None:
    made = policy((upstream("a", "h100"), upstream("a1", "api")))
    view, leases = view_of(valkey, made)
    await leases.acquire("h100", leases.new_id(), [candidate("a")._replace(upstream=made.upstreams["a"])])
    await readings.write(valkey, "a", Scrape(running=4, waiting=3, kv=0.5, gpu=0.9, gpu_age=0.2))
    await view.refresh()
    seen = view.current.states["a"]
    assert (seen.leased, seen.inflight) == (10, 1)
    assert seen.reading is not None
    assert (seen.reading.waiting, seen.reading.gpu) == (3, 0.9)
    assert 0 <= view.current.at - seen.reading.at < 5
    assert view.current.states["a1"].reading is None, "nobody scrapes a bought API: unknown, not zero"
    assert not view.current.degraded


async def test_a_snapshot_is_replaced_and_never_changed(valkey: Store) -> None:
    view, _ = view_of(valkey, policy())
    before = view.current
    await readings.write(valkey, "w1", Scrape(running=1))
    await view.refresh()
    assert before is not view.current
    assert before.states["w1"].reading is None


async def test_an_unhealthy_worker_is_out_with_its_reason_until_the_reading_is_old(valkey: Store) -> None:
    view, _ = view_of(valkey, policy())
    await readings.write(valkey, "w1", Scrape(healthy=False, reason="unreachable"))
    await view.refresh()
    assert view.current.states["w1"].out == "unreachable"
    assert view.current.states["w2"].out is None


async def test_an_open_circuit_shows_at_once(valkey: Store) -> None:
    view, _ = view_of(valkey, policy())
    made = policy()
    w1, peers = made.upstreams["w1"], made.backends["gpu"]
    view.circuits.failed(w1, peers, view.now(), view.now(), at_once=True)
    view.rebuild()
    assert view.current.states["w1"].out == "unreachable"


async def test_leases_of_an_old_life_do_not_weigh_on_the_new(valkey: Store) -> None:
    made = policy((upstream("a", "h100"),))
    view, leases = view_of(valkey, made)
    old = leases.new_id()
    await leases.acquire("h100", old, [candidate("a")._replace(upstream=made.upstreams["a"])])
    for started in (100.0, 200.0):
        await readings.write(valkey, "a", Scrape(running=0, started=started))
    await view.refresh()
    assert view.current.states["a"].life == 1
    assert view.current.states["a"].leased == 0
    leases.release("h100", old)
    await leases.drain()
    await view.refresh()
    assert view.current.states["a"].leased == 0


async def test_a_flush_does_not_forget_which_life_a_worker_lives(valkey: Store) -> None:
    """Leases are written back under the life that they were taken in: under another, the limit is given out twice."""
    made = policy((upstream("a", "h100", limit=50),))
    view, leases = view_of(valkey, made)
    for started in (100.0, 200.0):
        await readings.write_all(valkey, {"a": Scrape(started=started)}, view.readings())
    await view.refresh()
    one = candidate("a")._replace(upstream=made.upstreams["a"], limit=50)

    async def acquire() -> int | None:
        now = one._replace(life=view.current.states["a"].life)
        return (await leases.acquire("h100", leases.new_id(), [now])).index

    assert [await acquire() for _ in range(6)] == [0, 0, 0, 0, 0, None]
    await valkey.call("FLUSHALL")
    await view.refresh()
    assert view.current.states["a"].life == 1, "nobody has looked at it since: what was known of it still is"
    await readings.write_all(valkey, {"a": Scrape(started=200.0)}, view.readings())
    await leases.tick()
    await view.refresh()
    seen = view.current.states["a"]
    assert (seen.life, seen.inflight, seen.ramp) == (1, 5, 1.0)
    assert await acquire() is None


async def test_without_the_store_the_last_view_stays_and_says_so(valkey: Store) -> None:
    view, _ = view_of(valkey, policy())
    await readings.write(valkey, "w1", Scrape(running=7))
    await view.refresh()
    await valkey.aclose()
    await view.refresh()
    assert view.current.degraded
    seen = view.current.states["w1"].reading
    assert seen is not None
    assert seen.running == 7


def test_work_of_a_stranger_is_the_mean_of_ours_or_a_seats_share() -> None:
    worker = upstream("w", "gpu", limit=1000, seats=10)
    assert mean_work(state(worker)) == 100
    assert mean_work(state(worker, leased=90, inflight=3)) == 30


async def test_an_account_takes_what_its_rate_limit_has_left_and_then_nothing(valkey: Store) -> None:
    view, leases = view_of(valkey, policy())
    assert view.current.states["a1"].headroom is None, "unknown, not zero"
    await leases.acquire("api", leases.new_id(), [candidate("a1")])
    number = view.headroom.sent("a1", 100, view.now())
    view.headroom.told("a1", number, [Allowance("requests", 100, 3, 600, False)], view.now())
    await view.refresh()
    seen = view.current.states["a1"]
    assert (seen.headroom, seen.limit, seen.out) == (0.03, 4, None), "the one in flight, and three more"
    for _ in range(3):
        view.headroom.sent("a1", 100, view.now())
    view.rebuild()
    spent = view.current.states["a1"]
    assert (spent.headroom, spent.out) == (0.0, RATE_LIMITED)
    assert spent.back == pytest.approx(view.now() + 600, abs=10)


async def test_each_look_moves_the_damped_thresholds_and_tells_those_above(valkey: Store) -> None:
    deep = Spill(("api",), when=(Threshold("queue_depth", True, False, 8),))
    made, heard = policy(rules=(rule(spill=deep, damp=Damp(dwell=1000.0)),)), list[Policy]()

    async def exchange(now: Policy) -> None:
        heard.append(now)

    view, _ = view_of(valkey, made, Hooks(exchange, lambda _: {"gpu": 1.5}, step))
    key = damped_key(deep.when[0], made.rules[0], "m")
    assert not view.current.damped[key].on
    await readings.write(valkey, "w1", Scrape(waiting=9))
    await view.refresh()
    since = view.current.damped[key]
    assert since.on
    await readings.write(valkey, "w1", Scrape(waiting=0))
    await view.refresh()
    assert view.current.damped[key] == Damped(True, since.since), "it lasts"
    assert view.current.lines == {"gpu": 1.5}
    assert heard == [made, made]


def test_a_snapshot_tells_how_attempts_went(valkey: Store) -> None:
    view, _ = view_of(valkey, policy())
    for _ in range(3):
        view.tries.answered("w1", "m", view.now())
    view.tries.failed("w1", view.now())
    view.rebuild()
    seen = view.current.states
    assert seen["w1"].errors == pytest.approx(0.25)
    assert seen["w1"].warm == {"m"}
    assert (seen["w2"].errors, seen["w2"].warm) == (None, frozenset())


async def test_what_goes_out_and_comes_back_is_told_once(valkey: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "gateway")
    view, _ = view_of(valkey, policy())
    for scrape in (Scrape(healthy=False, reason="unreachable"), Scrape(healthy=False, reason="not a worker"), Scrape()):
        await readings.write(valkey, "w1", scrape)
        await view.refresh()
        await view.refresh()
    told = [(record.message, record.__dict__["fields"]) for record in caplog.records]
    assert told == [
        ("upstream out", {"upstream": "w1", "why": "unreachable"}),
        ("upstream back", {"upstream": "w1", "was": "not a worker"}),
    ]


async def test_half_open_it_has_one_seat_more_than_there_are_requests_and_a_probe_shuts_the_door(valkey: Store) -> None:
    made = policy((upstream("a", "h100"), upstream("b", "h100")))
    view, leases = view_of(valkey, made)
    await leases.acquire("h100", leases.new_id(), [candidate("a")._replace(upstream=made.upstreams["a"])])
    await view.refresh()
    peers, past = made.backends["h100"], view.now() - 10.0  # its pause is over
    view.circuits.failed(made.upstreams["a"], peers, past, past, at_once=True)
    view.rebuild()
    half = view.current.states["a"]
    assert (half.out, half.seats, half.holds) == (None, 2, 2), "the stream that goes on, and one to try it"
    assert view.circuits.probe("a", view.now())
    view.rebuild()
    assert view.current.states["a"].out == "unreachable"
    view.circuits.answered(made.upstreams["a"], peers, view.now(), view.now())
    view.rebuild()
    assert (view.current.states["a"].out, view.current.states["a"].seats) == (None, None)


async def test_without_the_store_each_replica_has_a_seat_to_try_it_with(valkey: Store) -> None:
    made = policy((upstream("a", "h100"),))
    view, leases = view_of(valkey, made)
    other = Leases(valkey, new_owner())
    for one in (leases, other):
        await one.acquire("h100", one.new_id(), [candidate("a")._replace(upstream=made.upstreams["a"])])
    await view.refresh()
    assert view.current.replicas == 2
    past = view.now() - 10.0
    view.circuits.failed(made.upstreams["a"], made.backends["h100"], past, past, at_once=True)
    await valkey.aclose()
    await view.refresh()
    assert view.current.degraded
    assert view.current.states["a"].seats == 2 + 2


def test_a_full_queue_makes_home_full_and_not_down(valkey: Store) -> None:
    made = policy()
    view, _ = view_of(valkey, made)
    for name in ("w1", "w2"):
        view.circuits.busy(made.upstreams[name], view.now())
    view.rebuild()
    decision = decide(request(), Board(made, view.current), Random(1))
    home = decision.primary[0].candidates
    assert [one.seats for one in home] == [0, 0]
    assert pick(home, [0, 0], [0, 0]) is None, "nobody has room, and nobody waits for a seat that is there"
    assert [group.outcome for group in decision.overflow] == ["spilled"]


async def test_a_worker_that_loads_its_model_has_not_failed_whatever_requests_to_it_did(valkey: Store) -> None:
    view, _ = view_of(valkey, policy())
    w1 = view.current.states["w1"].upstream
    view.circuits.failed(w1, [w1], view.now(), view.now(), at_once=True)
    await readings.write(valkey, "w1", Scrape(healthy=False, reason="not_ready"))
    await view.refresh()
    assert view.current.states["w1"].out == "not_ready"


async def test_a_worker_that_comes_back_warms_up_and_what_it_lacks_is_told(valkey: Store) -> None:
    slow = policy((upstream("w1", "gpu", slow_start=100.0), upstream("w2", "gpu", slow_start=100.0)))
    view, _ = view_of(valkey, slow)
    for scrape in (Scrape(started=10.0), Scrape(healthy=False, reason="unreachable"), Scrape(models=("m",))):
        assert view.current.states["w1"].ramp == 1
        await readings.write(valkey, "w1", scrape)
        await view.refresh()
    view.unloaded.said("w1", "n", view.now() + 1)
    view.rebuild()
    assert FIRST_SHARE <= view.current.states["w1"].ramp < 0.5
    assert view.current.states["w1"].unloaded == {"n"}
    assert view.current.states["w2"].ramp == 1


async def test_a_gateway_that_restarts_makes_nobody_cold(valkey: Store) -> None:
    slow = policy((upstream("w1", "gpu", slow_start=100.0), upstream("w2", "gpu", slow_start=100.0)))
    first, _ = view_of(valkey, slow)
    for name in ("w1", "w2"):
        await readings.write(valkey, name, Scrape(started=first.now() - 1000.0))
    await first.refresh()
    again, _ = view_of(valkey, slow)
    assert {state.ramp for state in again.current.states.values()} == {1.0}
    await again.refresh()
    assert {state.ramp for state in again.current.states.values()} == {1.0}
