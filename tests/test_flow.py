"""What is counted of the last hour, in one process and over several."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.flow import KEPT_SECONDS, MINUTES, NO_RULE, Flow
from gateway.store.connection import Store
from gateway.store.embedded import Embedded

BUCKETS = (0.1, 1.0)
MINUTE = 1_800_000_000 // 60 * 60


def over(rule: str | None, outcome: str, ttft_ms: float | None = None) -> dict[str, Any]:
    return {"rule": rule, "outcome": outcome, "times": {"ttft_ms": ttft_ms}}


class Clock:
    now = float(MINUTE)

    def __call__(self) -> float:
        return self.now


async def test_two_replicas_add_up_minute_by_minute(store: Store) -> None:
    clock = Clock()
    first, second = Flow(store, "a", BUCKETS, clock), Flow(store, "b", BUCKETS, clock)
    for flow in (first, second):
        flow.heard(over("chat", "local", 100.0))
        flow.heard(over("chat", "local", 100.1))
        flow.heard(over("chat", "left"))
        flow.slo("chat", met=True)
        await flow.flush()
    clock.now += 60
    first.heard(over(None, "refused"))
    second.heard(over("chat", "spilled", 5000.0))
    second.slo("chat", met=False)
    await first.flush()
    await second.flush()
    assert await second.read([MINUTE, MINUTE + 60, MINUTE + 120]) == {
        MINUTE: {"chat": {"local": 4, "left": 2, "t0": 2, "t1": 2, "met": 2}},
        MINUTE + 60: {NO_RULE: {"refused": 1}, "chat": {"spilled": 1, "t2": 1, "missed": 1}},
        MINUTE + 120: {},
    }
    assert 0 < await store.call("TTL", f"gw:{{flow}}:{MINUTE}") <= KEPT_SECONDS
    assert second.last()[-2:] == [MINUTE, MINUTE + 60]
    assert len(second.last()) == MINUTES


async def test_without_traffic_nothing_is_said(valkey: Store) -> None:
    flow = Flow(valkey, "a", BUCKETS, Clock())
    await flow.flush()
    assert await valkey.call("KEYS", "gw:{flow}:*") == []


async def test_while_the_store_is_away_counts_wait_for_an_hour_at_most(own_server: Embedded) -> None:
    clock, store = Clock(), Store(own_server.url, timeout=5.0)
    flow = Flow(store, "a", BUCKETS, clock)
    for minute in range(KEPT_SECONDS // 60 + 3):
        clock.now = MINUTE + 60 * minute
        flow.heard(over("chat", "local"))
        await flow.flush()  # it has no connection yet
    await store.check()
    await flow.flush()
    await flow.flush()
    kept = await flow.read(range(MINUTE, int(clock.now) + 60, 60))
    assert [bool(minute) for minute in kept.values()] == [False] * 3 + [True] * (KEPT_SECONDS // 60)
    await store.aclose()


async def test_a_batch_whose_answer_was_lost_is_added_once(valkey: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = Flow(valkey, "a", BUCKETS, Clock())
    flow.heard(over("chat", "local"))
    eval_ = valkey.eval

    async def lost(*args: Any) -> Any:
        await eval_(*args)
        await own.call("GET", "x")  # raises: it was never connected

    own = Store("redis://127.0.0.1:1")
    with monkeypatch.context() as patch:
        patch.setattr(valkey, "eval", lost)
        await flow.flush()
    flow.heard(over("chat", "local"))
    await flow.flush()
    await flow.flush()
    assert await flow.read([MINUTE]) == {MINUTE: {"chat": {"local": 2}}}


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b.c", None]), st.sampled_from(["local", "failed"]), st.integers(0, 3)))
)
def test_what_is_gathered_is_what_was_heard(requests: list[tuple[str | None, str, int]]) -> None:
    flow = Flow(Store("redis://127.0.0.1:1"), "a", BUCKETS, Clock())
    wanted: Counter[str] = Counter()
    for rule, outcome, seconds in requests:
        flow.heard(over(rule, outcome, seconds * 1000.0))
        wanted[f"{rule or '-'} {outcome}"] += 1
        wanted[f"{rule or '-'} t{min(2, seconds)}"] += 1
    flow._gather(MINUTE)
    assert dict(flow._minutes).get(MINUTE, {}) == wanted
