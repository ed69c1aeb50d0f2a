"""Budgets in admission, on a real store: what is held under which lease, who is let go on, and that all of it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.admission import Admission
from gateway.edge.asking import attempt_id
from gateway.errors import BudgetExceeded, FleetSaturated, GatewayError, InvalidRequest
from gateway.fleet.leases import Leases, new_owner
from gateway.model import Decision, Kept, Lease, Model, Policy, Price, Quota, Row, Served, Spill, Tenant, Visit
from gateway.money.budgets import Budgets
from gateway.money.keeping import AWAY_SECONDS, RUNNING_SECONDS, refusal, utc
from gateway.money.spending import Spending, skeleton
from gateway.money.till import Till
from gateway.routing.decide import decide
from gateway.routing.quotas import Quotas
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from tests.conftest import PATIENT
from tests.fleet.gates import Gate
from tests.worlds import board, policy, request, rule, upstream

PRICE = Price.of(input_per_1m=0.0, output_per_1m=10.0)
EACH = 1_000
POLLS = 500
"""Micro-dollars of 100 tokens of output."""
HARD = Quota("hard", "usd", 3 * EACH, "day")
SOFT = Quota("soft", "usd", EACH, "day", hard=False)
LOCAL = Quota("local", "usd", 9, "day", local=True)


@dataclass
class Desk:
    policy: Policy
    till: Till
    admission: Admission
    leases: Leases
    past: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)

    def decided(self, **asked: Any) -> Decision:
        return decide(request(**asked), board(self.policy), Random(1))

    async def admit(self, visit: Visit | None = None, **asked: Any) -> Lease:
        return await self.admission.admit(request(**asked), self.decided(**asked), visit)

    async def held(self) -> int:
        """Micro-dollars set aside in the store for whoever it is, idle slices given back."""
        self.till._give_back(self.till._purse.emptied())
        await self.till.flush()
        return sum(one.held for one in await self.till.report((HARD, SOFT, LOCAL)))


async def nothing_held(made: Desk) -> None:
    """Soon: what was drawn for somebody who has left goes back in the turn after the one in which it came."""
    for _ in range(POLLS):
        if not await made.held():
            return
        await asyncio.sleep(0.01)
    assert await made.held() == 0


@asynccontextmanager
async def desk(
    store: Store,
    *quotas: Quota,
    price: Price | None = PRICE,
    store_ms: Callable[[], int] = lambda: 0,
    **changes: Any,
) -> AsyncIterator[Desk]:
    """One worker of one seat, and an API."""
    ups = (upstream("w1", "gpu", seats=1), upstream("a1", "api"))
    served = (Served("gpu", "real-gpu"), Served("api", "real-api", price))
    made = policy(ups, (rule(**changes),), quotas=quotas, models={"m": Model("m", "text", served)})
    leases, till = Leases(store, new_owner(), fresh=True), Till(store, new_owner(), store_ms=store_ms)
    refused: list[str] = []
    past: set[str] = set()
    spending = Spending(till, Quotas(), lambda quota: quota.name in past, lambda quota: refused.append(quota.name))
    admission = Admission(leases, Budgets(store), lambda: board(made).snapshot, spending=spending)
    yield Desk(made, till, admission, leases, past, refused)
    await till.aclose()


BOUGHT: dict[str, Any] = {"backends": ("api",), "spill": None}


async def test_what_an_attempt_of_a_job_holds_goes_on_with_it(valkey: Store) -> None:
    asked: dict[str, Any] = {"max_tokens": 100}
    async with desk(valkey, HARD) as made:
        spending = Spending(made.till, Quotas(), lambda _: False)
        await made.admit(**asked)  # our own worker is full
        first = await made.admit(**asked)
        id = attempt_id(first)
        kept = await spending.keep("job", id, request(**asked), first)
        assert kept.hold == first.hold
        again = await spending.adopt(id, await made.admit(**asked))
        assert again.hold is not None
        assert again.hold.id == id
        assert [share.amount for share in again.hold.shares] == [EACH]
        assert await made.held() == EACH


async def test_so_many_are_bought_and_then_402(valkey: Store) -> None:
    async with desk(valkey, HARD, **BOUGHT) as made:
        leases = [await made.admit() for _ in range(3)]
        holds = [lease.hold for lease in leases]
        assert [hold.shares[0].amount for hold in holds if hold is not None] == [EACH] * 3
        assert all(attempt_id(lease) == lease.hold.id for lease in leases if lease.hold is not None)
        with pytest.raises(BudgetExceeded) as caught:
            await made.admit()
        assert "`hard`" in caught.value.message
        assert "$0.001" in caught.value.message, "what it may cost"
        assert "running requests" in caught.value.message
        assert caught.value.retry_after == RUNNING_SECONDS
        assert made.refused == [], "it is not used up"
        made.admission.end(leases.pop())
        leases.append(await made.admit())
        for lease in leases:
            made.till.book(row(lease, EACH), lease.hold)
            made.admission.end(lease)
        with pytest.raises(BudgetExceeded) as caught:
            await made.admit()
        assert "$0.00 left" in caught.value.message
        assert caught.value.retry_after is not None
        assert 0 < caught.value.retry_after <= 86_400
        assert made.refused == ["hard"]


@pytest.mark.parametrize("skew_hours", [-30, 30])
async def test_how_long_until_a_budget_begins_anew_is_the_stores_to_say(valkey: Store, skew_hours: int) -> None:
    noon = (int(time.time()) // 86_400 * 24 + 12 + skew_hours // 24 * 24) * 3_600
    async with desk(valkey, replace(HARD, cap=1), store_ms=lambda: noon * 1000, **BOUGHT) as made:
        with pytest.raises(BudgetExceeded) as caught:
            await made.admit()
        assert caught.value.retry_after == pytest.approx(12 * 3_600, abs=PATIENT)
        assert utc(noon + 12 * 3_600) in caught.value.message


async def test_what_is_short_stays_at_home_and_says_so(valkey: Store) -> None:
    async with desk(valkey, HARD, max_wait=0.0, kept_wait=0.0) as made:
        home, *away = [await made.admit() for _ in range(4)]
        assert [lease.group.outcome for lease in away] == ["spilled"] * 3
        visit = Visit()
        with pytest.raises(FleetSaturated) as caught:
            await made.admit(visit)
        assert "budget `hard`" in caught.value.message
        assert (visit.kept, visit.unpaid["api"].left) == ("quota", 0)
        assert caught.value.retry_after is not None
        made.admission.end(away[0])
        made.admission.end(home)
        await made.leases.drain()
        assert (await made.admit()).group.outcome == "local"


async def test_listed_first_and_short_is_as_if_it_were_full(valkey: Store) -> None:
    async with desk(valkey, replace(HARD, cap=1), backends=("api", "gpu"), spill=None) as made:
        lease = await made.admit(visit := Visit())
        assert (lease.group.backend, lease.group.reason, visit.kept) == ("gpu", "budget", "quota")
        assert lease.hold is None


@pytest.mark.parametrize(
    ("asked", "price", "said"),
    [
        ({"max_tokens": None}, PRICE, "max_tokens"),
        ({"text_only": False}, PRICE, "context_tokens"),
    ],
)
async def test_nothing_bounds_it(valkey: Store, asked: dict[str, Any], price: Price, said: str) -> None:
    async with desk(valkey, HARD, price=price, **BOUGHT) as made:
        with pytest.raises(InvalidRequest) as caught:
            await made.admit(**asked)
        assert said in caught.value.message
    async with desk(valkey, HARD, price=price) as made:
        assert (await made.admit(**asked)).group.outcome == "local"
    async with desk(valkey, SOFT, price=price, **BOUGHT) as made:
        assert (await made.admit(**asked)).group.outcome == "managed", "a soft one never refuses"


async def test_no_price_no_purchase(valkey: Store) -> None:
    async with desk(valkey, HARD, price=None, **BOUGHT) as made:
        with pytest.raises(BudgetExceeded) as caught:
            await made.admit()
        assert "price" in caught.value.message


async def test_our_own_work_is_held_where_a_budget_counts_it(valkey: Store) -> None:
    async with desk(valkey, LOCAL, spill=None, kept_wait=5.0) as made:
        with pytest.raises(BudgetExceeded):
            await made.admit(max_tokens=100_000)
        assert made.admission.lines.size("gpu") == 0, "room is not what it lacks: it does not wait"
        lease = await made.admit(max_tokens=1)
        assert lease.hold is not None


async def test_past_a_soft_budget_it_waits_at_home_before_it_leaves(valkey: Store) -> None:
    async with desk(valkey, SOFT, backends=("api", "gpu"), spill=None, kept_wait=0.2) as made:
        assert (await made.admit()).group.backend == "api"
        made.past.add("soft")
        lease = await made.admit(visit := Visit())
        assert (lease.group.backend, visit.past) == ("gpu", "soft")
        waited = await made.admit(visit := Visit())
        assert waited.group.backend == "api"
        assert visit.waited >= 0.2
        assert await made.admission.take(request(), made.decided(), Visit()) is None, "no hedge is bought then"


async def test_what_is_set_aside_for_a_hedge_says_so(valkey: Store) -> None:
    async with desk(valkey, HARD, **BOUGHT) as made:
        lease = await made.admission.take(request(), made.decided(), Visit(role="hedge"))
        assert lease is not None
        assert lease.hold is not None
        await made.till.flush()
        told = await valkey.call("HGET", f"gw:{{money}}:open:{made.till._counters.owner}", lease.hold.id)
        assert b'"role":"hedge"' in told


async def test_a_bound_of_the_rule_gives_the_hold_back(valkey: Store) -> None:
    async with desk(valkey, HARD, spill=Spill(("api",), max_share=0.0), kept_wait=0.0) as made:
        await made.admit()
        with pytest.raises(FleetSaturated):
            await made.admit()
        assert await made.held() == 0


async def test_whoever_leaves_while_it_is_held_holds_nothing(valkey: Store) -> None:
    async with desk(valkey, HARD, **BOUGHT) as made:
        for turns in range(12):
            task = asyncio.create_task(made.admit())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            done = await asyncio.gather(task, return_exceptions=True)
            if isinstance(done[0], Lease):
                made.admission.end(done[0])
        await nothing_held(made)


async def test_without_the_store_nothing_is_bought(own_server: Embedded, tmp_path: Path) -> None:
    async with Gate(tmp_path / "gate", Path(own_server.url.removeprefix("unix://"))) as gate:
        store = Store(gate.url)
        await store.check()
        async with desk(store, HARD, backends=("api", "gpu"), spill=None) as made:
            assert (await made.admit()).group.backend == "api"
            await made.leases.loads(["gpu", "api"])
            await made.leases.tick()
            await made.leases.loads(["gpu", "api"])
            await gate.shut()
            lease = await made.admit(visit := Visit())
            assert (lease.group.backend, visit.kept, visit.unpaid["api"].why) == ("gpu", "store", "away")
        await store.aclose()


async def test_a_store_that_is_away_is_not_the_callers_money() -> None:
    """Not even where another budget is known to be spent: what helps is to come again."""
    short = Kept("short", "budget day", 0, 10, None, None)
    for unpaid in ([Kept("away")], [short, Kept("away")]):
        answer = refusal(unpaid, 0.0)
        assert (answer.status, answer.code, answer.retry_after) == (503, "no_capacity", AWAY_SECONDS)
    assert refusal([short], 0.0).status == 402


async def test_what_could_not_be_counted_is_not_bought(valkey: Store) -> None:
    async with desk(valkey, backends=("api", "gpu"), spill=None) as made:
        assert (await made.admit()).group.backend == "api"
        assert (await made.admit(visit := Visit(uncounted=True))).group.backend == "gpu"
        assert visit.kept == "store"


@pytest.mark.parametrize("seed", range(5))
async def test_every_hold_ends_whatever_becomes_of_it(valkey: Store, seed: int) -> None:
    """Requests that are answered, given up before they are sent, cancelled, and refused: what is booked is used, and
    nothing is held."""
    rng, spent = Random(seed), 0
    hard = replace(HARD, cap=40 * EACH)
    tenant = Tenant("t", quotas=(replace(SOFT, cap=10**9),))
    async with desk(valkey, hard, backends=("gpu", "api"), spill=None) as made:

        async def one() -> int:
            lease = None
            try:
                async with asyncio.timeout(rng.choice([0.0005, 0.002, 5.0])):
                    lease = await made.admit(tenant=tenant, max_tokens=rng.choice([1, 100, 300]))
                    if rng.random() < 0.3 or lease.hold is None:
                        return 0
                    cost = rng.randrange(EACH // 100)
                    made.till.book(row(lease, cost), lease.hold)
                    return cost
            except (TimeoutError, GatewayError):
                return 0
            finally:
                if lease is not None:
                    made.admission.end(lease)

        for _ in range(6):
            spent += sum(await asyncio.gather(*(one() for _ in range(20))))
        await nothing_held(made)
        used = {each.quota.name: each.used for each in await made.till.report((hard, *tenant.quotas))}
        assert used == {"hard": spent, "soft": spent}


def row(lease: Lease, cost: int) -> Row:
    assert lease.hold is not None
    return replace(skeleton(lease.hold.id, request(), lease, "asked", 0, 1.0), cost=cost, state="settled", basis="list")
