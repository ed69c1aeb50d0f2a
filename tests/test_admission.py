"""Admit, wait, spill, shed: on a real store, with the decisions that `decide` makes."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.admission import Admission
from gateway.errors import BudgetExceeded, DeadlineExceeded, FleetSaturated, NoCapacity
from gateway.fleet.leases import Leases, new_owner
from gateway.model import CLASSES, Decision, Demand, Lease, Policy, Price, PriorityClass, Spill, Threshold, Visit
from gateway.money.budgets import Budgets
from gateway.routing.board import Board
from gateway.routing.decide import decide
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from gateway.waiting.ring import Ask
from tests.fleet.gates import Gate
from tests.polling import until
from tests.worlds import board, policy, request, rule, upstream

LOCAL = Demand(local=True)
SOON = 0.3
"""Seconds a waiter may wait in these tests; those that are served are woken at once, well before it."""


@dataclass
class Desk:
    """One replica's admission over a store, for a policy with one worker of two seats and an API."""

    leases: Leases
    admission: Admission
    policy: Policy

    def decided(self, **asked: Any) -> Decision:
        return decide(request(**asked), board(self.policy), Random(1))

    async def admit(self, **asked: Any) -> Lease:
        return await self.admission.admit(request(**asked), self.decided(**asked))


def desk_on(store: Store, made: Policy, *, fresh: bool = True) -> Desk:
    leases = Leases(store, new_owner(), fresh=fresh)
    return Desk(leases, Admission(leases, Budgets(store), lambda: board(made).snapshot), made)


def two_seats(**changes: Any) -> Policy:
    made = (upstream("w1", "gpu", seats=2, limit=10**9), upstream("a1", "api"))
    return policy(made, (rule(**changes),))


async def queued(desk: Desk, waiters: int) -> None:
    """Returns once that many stand in line."""
    async with asyncio.timeout(5):
        while desk.admission.lines.size("gpu") < waiters:  # noqa: ASYNC110 - admission signals no arrivals
            await asyncio.sleep(0.001)


async def test_local_while_there_is_room_then_the_api(valkey: Store) -> None:
    desk = desk_on(valkey, two_seats())
    leases = [await desk.admit() for _ in range(4)]
    assert [lease.group.outcome for lease in leases] == ["local", "local", "spilled", "spilled"]
    assert leases[2].group.reason == "slo_limit"
    desk.admission.release(leases[0])
    await desk.leases.drain()
    assert (await desk.admit()).group.outcome == "local"


async def test_flagged_requests_wait_and_are_shed_with_a_time(valkey: Store) -> None:
    desk = desk_on(valkey, two_seats(max_wait=SOON))
    for _ in range(2):
        await desk.admit(residency=LOCAL)
    began = time.monotonic()
    with pytest.raises(FleetSaturated) as caught:
        await desk.admit(residency=LOCAL)
    assert time.monotonic() - began >= SOON
    assert caught.value.retry_after is not None
    assert caught.value.retry_after >= 1


async def test_a_release_wakes_the_first_in_line_and_higher_classes_stand_before_lower(valkey: Store) -> None:
    desk = desk_on(valkey, two_seats(max_wait=30.0, spill=None))
    held = [await desk.admit() for _ in range(2)]
    order: list[str] = []

    async def wait(name: str, priority: Any) -> None:
        order.append(name) if (await desk.admit(priority=priority)) else None

    waiting = []
    for name, priority in (("batch", "batch"), ("standard", "standard"), ("interactive", "interactive")):
        waiting.append(asyncio.create_task(wait(name, priority)))
        await asyncio.sleep(0)
    await queued(desk, 3)
    for lease in held:
        desk.admission.release(lease)
        await desk.leases.drain()
    await asyncio.wait(waiting[1:], timeout=10)
    assert order == ["interactive", "standard"]
    waiting[0].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert waiting[0].cancelled(), "a cancellation that meets a turn is still a cancellation"
    assert desk.admission.lines.size("gpu") == 0, "a waiter that left stands in nobody's way"


async def test_newcomers_that_could_spill_do_not_overtake_those_that_must_wait(valkey: Store) -> None:
    desk = desk_on(valkey, two_seats(max_wait=30.0))
    held = [await desk.admit() for _ in range(2)]
    flagged = asyncio.create_task(desk.admit(residency=LOCAL))
    await queued(desk, 1)
    assert (await desk.admit(max_wait=0.0)).group.outcome == "spilled"
    desk.admission.release(held[0])
    assert (await flagged).group.outcome == "local"


async def test_a_deadline_ends_the_wait(valkey: Store) -> None:
    desk = desk_on(valkey, two_seats(max_wait=30.0, spill=None))
    for _ in range(2):
        await desk.admit()
    with pytest.raises(DeadlineExceeded):
        await desk.admit(deadline=time.monotonic() + 0.05)


async def test_past_the_budget_nothing_more_is_bought(valkey: Store) -> None:
    price = request(max_tokens=100).max_tokens
    assert price
    desk = desk_on(valkey, two_seats(spill=Spill(("api",), budget_usd_per_hour=0.0002)))
    for _ in range(2):
        await desk.admit()
    bought = await desk.admit(body=b"x" * 100)
    assert bought.reservation is not None
    assert bought.reservation.micro_usd == 100  # 100 bytes at most 100 tokens at $0.25/1M, 100 tokens at $0.75/1M
    assert (await desk.admit(body=b"x" * 100)).reservation is not None
    with pytest.raises(FleetSaturated) as caught:
        await desk.admit(body=b"x" * 100)
    assert "budget" in caught.value.message
    await desk.leases.drain()
    loads = await desk.leases.loads(["api"])
    assert loads["a1@0"][1] == 2, "the lease of a request that could not be paid is given back"


async def test_fallback_spends_from_the_same_budget(valkey: Store) -> None:
    made = two_seats(spill=Spill(("api",), budget_usd_per_hour=0.0001), fallback=("api",))
    desk = desk_on(valkey, made)
    down = decide(request(body=b"x"), board(made, w1={"out": "down"}), Random(1))
    assert (await desk.admission.admit(request(body=b"x"), down)).group.outcome == "fallback"
    with pytest.raises(BudgetExceeded):
        await desk.admission.admit(request(body=b"x" * 200), replace(down, primary=()))


async def test_two_replicas_together_keep_the_limit(valkey: Store) -> None:
    made = policy((upstream("w1", "gpu", seats=7, limit=10**9),), (rule(spill=None),))
    one, other = desk_on(valkey, made), desk_on(valkey, made)
    results = await asyncio.gather(*(d.admit() for d in (one, other) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(result, Lease) for result in results) == 7
    assert all(isinstance(result, Lease | FleetSaturated) for result in results)


async def test_a_lease_given_back_twice_is_given_back_once(valkey: Store) -> None:
    desk = desk_on(valkey, two_seats())
    first, _ = await desk.admit(), await desk.admit()
    freed = list[int]()
    desk.admission.lines.freed = lambda _backend, work: freed.append(work)  # type: ignore[method-assign]
    desk.admission.release(first)
    desk.admission.release(first)
    await desk.leases.drain()
    assert (await desk.leases.loads(["gpu"]))["w1@0"][1] == 1
    assert freed == [first.candidate.work], "the rate at which work comes free is not counted twice"


async def test_a_cancelled_admission_leaves_no_lease(valkey: Store) -> None:
    desk = desk_on(valkey, two_seats())
    for turns in range(6):
        task = asyncio.create_task(desk.admit())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled():
            desk.admission.release(task.result())
    await desk.leases.drain()
    await desk.leases.tick()
    assert (await desk.leases.loads(["gpu"])) in ({}, {"w1@0": (0, 0)})


async def test_without_the_store_a_share_of_what_was_free_is_admitted(valkey: Store) -> None:
    made = policy((upstream("w1", "gpu", limit=100_000, seats=100),), (rule(spill=None),))
    desk = desk_on(valkey, made)
    work = desk.decided().primary[0].candidates[0].work
    first = await desk.admit()
    await desk.leases.tick()
    await desk.leases.loads(["gpu"])
    await valkey.aclose()
    limit = first.candidate.limit
    results = await asyncio.gather(*(desk.admit() for _ in range(2 * limit // work)), return_exceptions=True)
    admitted = sum(isinstance(result, Lease) for result in results)
    assert limit // work - 1 <= admitted <= limit // work + 1
    assert all(isinstance(result, Lease | FleetSaturated) for result in results)


async def test_a_full_api_without_workers_is_busy_not_out_of_money(valkey: Store) -> None:
    made = policy(
        (upstream("w1", "gpu"), upstream("a1", "api", seats=1, limit=1)),
        (rule(spill=Spill(("api",), budget_usd_per_hour=100.0), fallback=("api",)),),
    )
    desk = desk_on(valkey, made)
    down = decide(request(), board(made, w1={"out": "down"}), Random(1))
    await desk.admission.admit(request(), down)
    with pytest.raises(FleetSaturated):
        await desk.admission.admit(request(), down)


async def test_a_worker_that_comes_back_is_found_by_who_waits(valkey: Store) -> None:
    """w2 is down when the request arrives, and up a moment later: the wait ends there, not at the full w1."""
    made = policy((upstream("w1", "gpu", seats=1), upstream("w2", "gpu", seats=1)), (rule(spill=None, max_wait=30.0),))
    desk = desk_on(valkey, made)
    boards = [board(made, w2={"out": "down"}), board(made)]
    before = decide(request(), boards[0], Random(1))
    await desk.admission.admit(request(), before)
    lease = await desk.admission.admit(request(), before, Visit(), lambda: decide(request(), boards[1], Random(1)))
    assert lease.candidate.upstream.name == "w2"


async def test_nothing_is_bought_by_a_decision_that_holds_no_more(valkey: Store) -> None:
    """The only worker goes down while the request waits for it: that is for `fallback`, and there is none."""
    desk = desk_on(valkey, two_seats(max_wait=SOON))
    for _ in range(2):
        await desk.admit()
    down = board(desk.policy, w1={"out": "down"})
    with pytest.raises(NoCapacity):
        await desk.admission.admit(request(), desk.decided(), Visit(), lambda: decide(request(), down, Random(1)))


async def test_what_a_refused_request_saw_and_waited_is_told(valkey: Store) -> None:
    desk, visit = desk_on(valkey, two_seats(max_wait=SOON, spill=None)), Visit()
    for _ in range(2):
        await desk.admit()
    with pytest.raises(FleetSaturated):
        await desk.admission.admit(request(), desk.decided(), visit)
    assert visit.waited >= SOON
    assert list(visit.looks) == ["w1"]


def sticky() -> tuple[Policy, Board]:
    """Two workers alike but for their errors, which alone count under the rule."""
    workers = tuple(upstream(name, "gpu", limit=150_000) for name in ("w1", "w2"))
    made = policy(workers, (rule(spill=None, scorers=(("errors", 0.2),)),))
    return made, board(made, w2={"errors": 0.5})


async def test_the_weight_of_the_load_is_that_of_the_rule(valkey: Store) -> None:
    made, seen = sticky()
    desk = desk_on(valkey, made)
    taken = [await desk.admission.admit(request(), decide(request(), seen, Random(seed))) for seed in range(3)]
    assert [lease.candidate.upstream.name for lease in taken] == ["w1", "w1", "w1"]


async def test_and_so_it_is_without_the_store(own_server: Embedded, tmp_path: Path) -> None:
    made, seen = sticky()
    async with Gate(tmp_path / "gate", Path(own_server.url.removeprefix("unix://"))) as gate:
        store = Store(gate.url)
        await store.check()
        desk = desk_on(store, made)
        await desk.leases.loads(["gpu"])
        await desk.leases.tick()
        await desk.leases.loads(["gpu"])
        await gate.shut()
        taken = [await desk.admission.admit(request(), decide(request(), seen, Random(seed))) for seed in range(3)]
        assert [lease.candidate.upstream.name for lease in taken] == ["w1", "w1", "w1"]
        await store.aclose()


SHARE = Spill(("api",), max_share=0.1)
"""One of the first ten may leave."""


async def test_a_cheaper_backend_may_be_within_the_budget_that_a_dearer_one_passes(valkey: Store) -> None:
    made = policy(
        (upstream("w1", "gpu", seats=1), upstream("a1", "api"), upstream("a2", "api2")),
        (rule(spill=Spill(("api", "api2"), budget_usd_per_hour=0.00005)),),
    )
    gpu, dear, cheap = made.models["m"].served_by
    served = (gpu, dear, replace(cheap, price=Price.of(per_request=0.00004)))
    desk, visit = desk_on(valkey, replace(made, models={"m": replace(made.models["m"], served_by=served)})), Visit()
    await desk.admit()
    lease = await desk.admission.admit(request(), desk.decided(), visit)
    assert (lease.group.backend, lease.group.reason, visit.kept) == ("api2", "slo_limit", None)


async def test_past_the_share_a_request_waits_at_home_and_says_so(valkey: Store) -> None:
    desk = desk_on(valkey, two_seats(spill=SHARE, kept_wait=30.0))
    held = [await desk.admit() for _ in range(2)]
    assert (await desk.admit()).group.outcome == "spilled"
    visit = Visit()
    kept = asyncio.create_task(desk.admission.admit(request(), desk.decided(), visit))
    await queued(desk, 1)
    desk.admission.release(held[0])
    lease = await kept
    assert (lease.group.outcome, lease.group.reason, visit.kept) == ("local", "budget", "share")
    await desk.leases.drain()
    assert (await desk.leases.loads(["api"]))["a1@0"][1] == 1


async def test_what_may_not_leave_and_finds_no_room_is_told_which_bound_keeps_it(valkey: Store) -> None:
    desk = desk_on(valkey, two_seats(spill=SHARE, kept_wait=SOON))
    for _ in range(3):
        await desk.admit()
    visit = Visit()
    with pytest.raises(FleetSaturated, match="max_share"):
        await desk.admission.admit(request(), desk.decided(), visit)
    assert visit.waited >= SOON
    with pytest.raises(FleetSaturated, match="max_share"):
        await desk.admit(max_wait=0.0)


async def test_what_stays_first_when_thresholds_hold_is_kept_by_the_share_too(valkey: Store) -> None:
    """`spill.when` holds: it tries to leave first, may not, and is served at home."""
    when = (Threshold("price_usd", False, False, 1.0),)
    desk = desk_on(valkey, two_seats(spill=Spill(("api",), max_share=0.0, when=when)))
    lease = await desk.admit()
    assert (lease.group.outcome, lease.group.reason) == ("local", "budget")


async def test_fallback_counts_and_one_worker_of_ours_for_another_does_not(valkey: Store) -> None:
    made = policy(
        (upstream("w1", "gpu"), upstream("v1", "gpu2"), upstream("a1", "api")),
        (rule(spill=SHARE, fallback=("gpu2", "api")),),
    )
    desk = desk_on(valkey, made)
    for out, outcomes in (({"v1": {"out": "down"}}, 1), ({}, 5)):
        down = decide(request(), board(made, w1={"out": "down"}, **out), Random(1))
        for _ in range(outcomes):
            assert (await desk.admission.admit(request(), down)).group.outcome == "fallback"
    gone = decide(request(), board(made, w1={"out": "down"}, v1={"out": "down"}), Random(1))
    with pytest.raises(FleetSaturated, match="max_share"):
        await desk.admission.admit(request(), gone)


async def test_without_the_store_what_is_bounded_stays(valkey: Store) -> None:
    desk = desk_on(valkey, two_seats(spill=SHARE))
    for _ in range(2):
        await desk.admit()
    visit = Visit()
    await desk.leases.loads(["gpu", "api"])
    await desk.leases.tick()
    await desk.leases.loads(["gpu", "api"])
    await valkey.aclose()
    with pytest.raises(FleetSaturated, match="store"):
        await desk.admission.admit(request(), desk.decided(), visit)
    assert visit.kept == "store"


async def test_in_a_full_line_the_lowest_class_makes_room(valkey: Store) -> None:
    desk = desk_on(valkey, two_seats(max_wait=30.0, spill=None, max_queue=2))
    held = [await desk.admit() for _ in range(2)]
    low = [asyncio.create_task(desk.admit(priority="batch")) for _ in range(2)]
    await queued(desk, 2)
    high = asyncio.create_task(desk.admit(priority="interactive"))
    with pytest.raises(FleetSaturated):
        await low[1]
    with pytest.raises(FleetSaturated):
        await desk.admit(priority="batch")
    for lease in held:
        desk.admission.release(lease)
    assert (await high).group.outcome == "local"
    assert (await low[0]).group.outcome == "local"


async def test_a_class_that_may_not_be_shed_keeps_its_place(valkey: Store) -> None:
    classes = {**CLASSES, "batch": PriorityClass(0.7, shed=False)}
    desk = desk_on(valkey, two_seats(max_wait=30.0, spill=None, classes=classes, max_queue=1))
    held = [await desk.admit() for _ in range(2)]
    low = asyncio.create_task(desk.admit(priority="batch"))
    await queued(desk, 1)
    with pytest.raises(FleetSaturated):
        await desk.admit(priority="interactive")
    desk.admission.release(held[0])
    assert (await low).group.outcome == "local"


def without_a_way_out(why: str) -> tuple[Board, dict[str, Any], int]:
    """A board and a request that cannot leave, and how many requests fill the rest."""
    made = two_seats(kept_wait=30.0, fallback=("api",))
    states: dict[str, dict[str, Any]] = {
        "rate limited": {"a1": {"out": "rate_limited", "back": 1e9}},
        "down": {"a1": {"out": "down"}},
    }
    asked = {"too dear": {"max_cost": 0.0}, "residency": {"residency": LOCAL}}
    if why == "full":
        made = replace(made, backends={**made.backends, "api": (tiny := upstream("a1", "api", seats=1, limit=1),)})
        made = replace(made, upstreams={**made.upstreams, "a1": tiny})
    return board(made, **states.get(why, {})), asked.get(why, {}), 3 if why == "full" else 2


@pytest.mark.parametrize("why", ["rate limited", "down", "too dear", "residency", "full"])
async def test_whatever_keeps_it_from_leaving_it_waits_at_home(valkey: Store, why: str) -> None:
    seen, asked, fill = without_a_way_out(why)
    desk = desk_on(valkey, seen.policy)
    held = [await desk.admission.admit(request(), decide(request(), seen, Random(1))) for _ in range(fill)]
    one = request(**asked)
    kept = asyncio.create_task(desk.admission.admit(one, decide(one, seen, Random(1))))
    await queued(desk, 1)
    desk.admission.release(held[0])
    assert (await kept).group.outcome == "local"
    hasty = request(**asked, max_wait=0.0)
    with pytest.raises(FleetSaturated):
        async with asyncio.timeout(5):
            await desk.admission.admit(hasty, decide(hasty, seen, Random(1)))


@pytest.mark.parametrize("waited", [29.9, 31.0])
async def test_what_waited_before_is_part_of_the_wait(valkey: Store, waited: float) -> None:
    desk = desk_on(valkey, two_seats(spill=Spill(("api",), max_share=0.0), kept_wait=30.0))
    for _ in range(2):
        await desk.admit()
    with pytest.raises(FleetSaturated, match="max_share"):
        async with asyncio.timeout(5):
            await desk.admission.admit(request(), desk.decided(), Visit(waited=waited))


async def test_who_lost_its_place_does_not_join_the_line_again(valkey: Store) -> None:
    """Even where it could: the one of the higher class that took its place has left meanwhile."""
    bounds = Spill(("api",), max_share=0.0)
    desk = desk_on(valkey, two_seats(spill=bounds, max_wait=30.0, kept_wait=60.0, max_queue=1))
    for _ in range(2):
        await desk.admit()
    low = asyncio.create_task(desk.admit(priority="batch"))
    await queued(desk, 1)
    high = asyncio.create_task(desk.admit(priority="interactive"))
    await until(lambda: desk.admission.lines.line("gpu").waiting(0) == 1)
    high.cancel()
    with pytest.raises(FleetSaturated):
        async with asyncio.timeout(5):
            await low


@pytest.mark.parametrize("kept_wait", [0.0, 30.0])
@pytest.mark.parametrize("why", ["share", "down", "full"])
async def test_what_is_cheap_to_buy_and_cannot_leave_has_the_room_of_its_class(
    valkey: Store, why: str, kept_wait: float
) -> None:
    """Cheap requests fill 0.72 of the worker; the fourth is above that and below 0.9."""
    spill = Spill(("api",), max_share=0.0) if why == "share" else Spill(("api",))
    api = upstream("a1", "api", seats=1, limit=1)
    made = policy((upstream("w1", "gpu"), api), (rule(spill=spill, kept_wait=kept_wait),))
    work = decide(request(), board(made), Random(1)).primary[0].candidates[0].work
    made = policy((upstream("w1", "gpu", limit=int(4.5 * work)), api), made.rules)
    seen = replace(board(made, **({"a1": {"out": "down"}} if why == "down" else {})), worths={"chat": 1e9})
    desk = desk_on(valkey, made)
    if why == "full":
        dear = decide(request(), board(made), Random(1))
        await desk.admission.admit(request(), replace(dear, primary=()))
    ends = [(await desk.admission.admit(request(), decide(request(), seen, Random(1)))).group for _ in range(4)]
    assert [group.outcome for group in ends] == ["local"] * 4
    assert decide(request(), seen, Random(1)).cheap is (why != "down")


def sized(limit: int, **changes: Any) -> Policy:
    """One worker of this limit."""
    workers = (upstream("w1", "gpu", limit=limit, seats=1000),)
    return policy(workers, (rule(spill=None, max_wait=30.0, **changes),))


def work_of(**asked: Any) -> int:
    """GPU-us that such a request takes on a worker of `sized`."""
    return decide(request(**asked), board(sized(10**9)), Random(1)).primary[0].candidates[0].work


LARGE: dict[str, Any] = {"prompt_bytes": 100_000}


async def test_a_large_request_lets_small_ones_pass_for_a_while_and_is_not_starved_by_them(
    valkey: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One worker, kept busy by small requests that come without end; the large one needs nearly all of it."""
    monkeypatch.setattr("gateway.waiting.line.PASS_SECONDS", 0.2)
    desk = desk_on(valkey, sized(10 * work_of(), classes={**CLASSES, "standard": PriorityClass(1.0)}))
    assert work_of(**LARGE) > 8 * work_of()
    done, served = asyncio.Event(), [0]

    async def client(number: int) -> None:
        while not done.is_set():
            lease = await desk.admit()
            served[0] += 1
            await asyncio.sleep(0.005 + 0.0017 * number)  # they never end all at once
            desk.admission.release(lease)

    clients = [asyncio.create_task(client(number)) for number in range(14)]
    await until(lambda: served[0] > 24)
    before = served[0]
    lease = await asyncio.wait_for(desk.admit(**LARGE), 3)  # nobody beats here: after 4 s all is swept
    passed = served[0] - before
    desk.admission.release(lease)
    await until(lambda: served[0] > before + passed + 24)
    done.set()
    await asyncio.gather(*clients)
    assert passed > 0, "small ones went on meanwhile"


async def test_a_request_waits_at_all_its_backends_and_is_served_by_whichever_frees_first(valkey: Store) -> None:
    made = policy(
        (upstream("w1", "gpu", seats=1), upstream("v1", "gpu2", seats=1)),
        (rule(backends=("gpu", "gpu2"), spill=None, max_wait=30.0),),
    )
    desk = desk_on(valkey, made)
    held = [await desk.admit() for _ in range(2)]
    assert [lease.group.backend for lease in held] == ["gpu", "gpu2"]
    waits = asyncio.create_task(desk.admit())
    await until(lambda: desk.admission.lines.size("gpu2") == 1)
    assert desk.admission.lines.size("gpu") == 1
    desk.admission.release(held[1])
    assert (await asyncio.wait_for(waits, 5)).group.backend == "gpu2"
    assert desk.admission.lines.size("gpu") == 0


async def test_a_class_with_below_waits_until_the_workers_are_less_full(valkey: Store) -> None:
    """By the snapshot, and by what this replica took since."""
    work = work_of()
    batch = PriorityClass(1.0, below=0.5)
    made = sized(4 * work, classes={**CLASSES, "batch": batch})
    desk = desk_on(valkey, made)
    await desk.leases.loads(["gpu"])
    await desk.leases.tick()
    await desk.leases.loads(["gpu"])
    held = [await desk.admit(priority="interactive") for _ in range(2)]
    waits = asyncio.create_task(desk.admit(priority="batch"))
    await queued(desk, 1)
    third = await desk.admit(priority="interactive")
    desk.admission.release(third)
    await asyncio.sleep(0)
    assert not waits.done()
    desk.admission.release(held[0])
    assert (await asyncio.wait_for(waits, 5)).group.outcome == "local"


async def test_nor_does_it_begin_there_without_waiting(valkey: Store) -> None:
    made = sized(4 * work_of(), classes={**CLASSES, "batch": PriorityClass(1.0, below=0.5)})
    desk = desk_on(valkey, made)
    await desk.leases.loads(["gpu"])
    await desk.leases.tick()
    await desk.leases.loads(["gpu"])
    low, high = request(priority="batch"), request(priority="interactive")
    for _ in range(2):
        assert await desk.admission.take(high, desk.decided(priority="interactive"), Visit()) is not None
    assert await desk.admission.take(low, desk.decided(priority="batch"), Visit()) is None
    assert await desk.admission.take(high, desk.decided(priority="interactive"), Visit()) is not None


async def test_an_overdue_request_of_a_low_class_goes_before_a_high_one_and_may_fill_as_much(valkey: Store) -> None:
    """Batch may fill 0.3 of the worker, and would never have room beside the others."""
    late = [0.0]
    desk = desk_on(valkey, sized(4 * work_of(), classes={**CLASSES, "batch": PriorityClass(0.3)}, starve_after=20.0))
    desk.admission = Admission(
        desk.leases, Budgets(valkey), lambda: board(desk.policy).snapshot, clock=lambda: time.monotonic() + late[0]
    )
    held = [await desk.admit(priority="interactive") for _ in range(4)]
    low = asyncio.create_task(desk.admit(priority="batch"))
    await queued(desk, 1)
    desk.admission.release(held[0])
    held[0] = await desk.admit(priority="interactive")
    late[0] = 21.0
    high = asyncio.create_task(desk.admit(priority="interactive"))
    await queued(desk, 2)
    desk.admission.release(held[0])
    lease = await asyncio.wait_for(low, 5)
    assert not high.done()
    desk.admission.release(lease)
    assert (await asyncio.wait_for(high, 5)).group.outcome == "local"


async def test_who_is_turned_away_is_told_when_to_come_again_by_what_came_free(valkey: Store) -> None:
    """Two seats that each come free ten times a second, thirty in line: a newcomer is told about a second or two."""
    desk = desk_on(valkey, two_seats(spill=None, max_wait=30.0, max_queue=30))

    async def client() -> None:
        lease = await desk.admit()
        await asyncio.sleep(0.05)
        desk.admission.release(lease)

    clients = [asyncio.create_task(client()) for _ in range(60)]
    turned_away = 0
    await queued(desk, 30)
    for task in clients:
        if task.done() and task.exception() is not None:
            turned_away += 1
    await until(lambda: sum(task.done() for task in clients) > turned_away + 10, 10)
    with pytest.raises(FleetSaturated) as caught:
        await desk.admit(max_wait=0.0)
    assert caught.value.retry_after in (1, 2)
    await asyncio.gather(*clients, return_exceptions=True)


async def test_a_worker_that_warms_up_is_told_how_full_it_is_of_its_whole_limit(valkey: Store) -> None:
    """A vote on the shared limit is about the whole: a cold worker that is full to its ramp proves nothing."""
    made = policy((upstream("w1", "gpu", limit=10**9), upstream("w2", "gpu", limit=10**9)), (rule(spill=None),))
    asked = request(priority="interactive")
    seen = board(made, w1={"ramp": 0.1}, w2={"out": "down"})
    warm = decide(asked, seen, Random(1))
    cold = decide(asked, board(made, w1={"ramp": 1e-9}), Random(1))
    alone = next(one for one in cold.primary[0].candidates if one.upstream.name == "w1")
    only = replace(cold, primary=(replace(cold.primary[0], candidates=(alone,)),))
    leases = Leases(valkey, new_owner(), fresh=True)
    admission = Admission(leases, Budgets(valkey), lambda: seen.snapshot)
    assert alone.limit == alone.work
    lease = await admission.admit(asked, only)
    assert lease.full == pytest.approx(alone.work / 10**9), "not 1, although it holds all that it may"
    admission.release(lease)
    await leases.drain()
    assert (await admission.admit(asked, warm)).full == pytest.approx(lease.full), "the warmest has its whole limit"


async def test_what_waits_for_nothing_takes_only_what_nobody_waits_for(valkey: Store) -> None:
    desk = desk_on(valkey, two_seats(max_wait=30.0, spill=None))
    decision = desk.decided()
    first, second = (
        await desk.admission.take(request(), decision, Visit()),
        await desk.admission.take(request(), decision, Visit()),
    )
    assert first is not None
    assert second is not None
    assert await desk.admission.take(request(), decision, Visit()) is None
    desk.admission.release(first)
    await desk.leases.drain()
    lines = desk.admission.lines
    waiter = lines.join(Ask(2, "t"), {"gpu": 1}, 10)
    assert waiter is not None
    assert await desk.admission.take(request(), decision, Visit()) is None  # the room is for who stands in line
    lines.leave(waiter)
    assert await desk.admission.take(request(), decision, Visit()) is not None


async def test_beyond_home_it_pays_like_anybody(valkey: Store) -> None:
    desk = desk_on(valkey, two_seats(spill=Spill(("api",), budget_usd_per_hour=0.0001)))
    decision = replace(desk.decided(body=b"x" * 100), primary=())
    lease = await desk.admission.take(request(), decision, Visit())
    assert lease is not None
    assert lease.reservation is not None
    visit = Visit()
    assert await desk.admission.take(request(), decision, visit) is None
    assert visit.kept == "budget"


async def test_those_held_back_are_in_nobodys_way_and_one_of_them_looks_for_all(valkey: Store) -> None:
    """However long they wait: on a worker that has room they do not keep a newcomer of a higher class out."""
    late, decisions = [0.0], [0]
    classes = {**CLASSES, "batch": PriorityClass(1.0, below=0.1, max_wait=300.0)}
    desk = desk_on(valkey, sized(20 * work_of(), classes=classes, starve_after=20.0))
    desk.admission = Admission(
        desk.leases, Budgets(valkey), lambda: board(desk.policy).snapshot, clock=lambda: time.monotonic() + late[0]
    )
    await desk.leases.loads(["gpu"])
    await desk.leases.tick()
    await desk.leases.loads(["gpu"])
    held = [await desk.admit(priority="interactive") for _ in range(4)]

    def again() -> Decision:
        decisions[0] += 1
        return desk.decided(priority="batch")

    asked = request(priority="batch")
    waits = [
        asyncio.create_task(desk.admission.admit(asked, desk.decided(priority="batch"), again=again))
        for _ in range(100)
    ]
    await queued(desk, 100)
    late[0] = 21.0
    for _ in range(3):
        desk.admission.release(await desk.admit(priority="interactive", max_wait=0.0))
        await desk.leases.drain()
    await until(lambda: not any(waiter.called for waiter in desk.admission.lines.waiters("gpu")))
    before = decisions[0]
    desk.admission.release(held.pop())
    await until(lambda: decisions[0] > before)
    await until(lambda: not any(waiter.called for waiter in desk.admission.lines.waiters("gpu")))
    assert decisions[0] - before <= 2, "one try stands for all alike"
    for lease in held:
        desk.admission.release(lease)
    done, _ = await asyncio.wait(waits, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    assert done
    for task in waits:
        task.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


async def test_what_is_kept_for_one_leaves_the_other_workers_to_who_may_use_them(
    valkey: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that must stay in one zone is kept the worker there; others have the one in the other zone."""
    monkeypatch.setattr("gateway.waiting.line.PASS_SECONDS", 0.0)
    workers = (upstream("w1", "gpu", seats=2, limit=10**9), upstream("w2", "gpu", seats=2, limit=10**9, zone="us"))
    desk = desk_on(valkey, policy(workers, (rule(spill=None, max_wait=30.0),)))
    bound = Demand(zones=frozenset({"fra"}))
    held = [await desk.admit(residency=bound) for _ in range(2)]
    kept = asyncio.create_task(desk.admit(residency=bound))
    await queued(desk, 1)
    await until(lambda: not any(waiter.called for waiter in desk.admission.lines.waiters("gpu")))
    free = await desk.admit(max_wait=0.0)
    assert free.candidate.upstream.name == "w2"
    await desk.admit()
    waits = asyncio.create_task(desk.admit())
    await queued(desk, 2)
    await until(lambda: not any(waiter.called for waiter in desk.admission.lines.waiters("gpu")))
    desk.admission.release(held[0])
    assert (await asyncio.wait_for(kept, 5)).candidate.upstream.name == "w1"
    assert not waits.done()
    desk.admission.release(free)
    assert (await asyncio.wait_for(waits, 5)).candidate.upstream.name == "w2"
