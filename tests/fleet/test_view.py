from __future__ import annotations

import pytest

from gateway.fleet import readings
from gateway.fleet.circuits import Circuits
from gateway.fleet.leases import Leases, new_owner
from gateway.fleet.lessons import Forgetting, Lessons
from gateway.fleet.view import Hooks, View, mean_work
from gateway.model import RATE_LIMITED, Allowance, Damp, Damped, Policy, Scrape, Spill, Threshold
from gateway.routing.damping import step
from gateway.routing.learn import MEMORY, PRIOR, PRIOR_WEIGHT
from gateway.routing.signals import damped_key
from gateway.store.connection import Store
from tests.fleet.leasing import candidate
from tests.worlds import policy, rule, state, upstream


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
