"""The pick in Lua and the pick in Python are the same function, to the last bit."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.fleet.leases import slot_name
from gateway.model import Candidate
from gateway.routing.pickers import MAX_SAMPLED, pick
from gateway.store.connection import Store

from .leasing import BACKEND, Clock, candidate, replica

SMALL = st.integers(0, 12)
AMOUNT = SMALL | st.integers(0, 2**50) | st.integers(2**49, 2**50)
"""Small ones make ties and edges; Lua's own number format would round the largest."""
SCORE = st.sampled_from([0.0, 0.1, 0.2, 0.3, 1 / 3]) | st.floats(-1e6, 1e6) | st.floats(0, 1)


@st.composite
def situations(draw: st.DrawFn) -> list[tuple[Candidate, int, int]]:
    """Candidates with the work leased and the leases on each."""
    made = []
    for n in range(draw(st.integers(1, 8))):
        limit = draw(AMOUNT)
        one = candidate(
            f"worker {n}",
            score=draw(SCORE),
            lift=draw(st.just(0.0) | SCORE),
            work=draw(AMOUNT),
            limit=limit,
            seats=draw(st.integers(0, 4)),
            outside=draw(st.just(0) | SMALL | st.integers(0, limit)),
            life=draw(st.integers(0, 3)),
        )
        made.append((one, draw(SMALL | st.integers(0, limit)), draw(st.integers(0, 4))))
        if draw(st.booleans()):  # a tie
            made.append((candidate_like(one, f"twin {n}"), *made[-1][1:]))
    return made[:MAX_SAMPLED]


def candidate_like(one: Candidate, name: str) -> Candidate:
    return one._replace(upstream=replace(one.upstream, name=name))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(situation=situations(), weight=st.sampled_from([0.0, 0.1, 1.0]) | st.floats(0, 1e3))
async def test_lua_and_python_pick_the_same(
    store: Store, situation: list[tuple[Candidate, int, int]], weight: float
) -> None:
    await store.call("FLUSHALL")
    candidates = [one for one, _, _ in situation]
    leased, counts = [work for _, work, _ in situation], [count for _, _, count in situation]
    slots = [slot_name(one.upstream.name, one.life) for one in candidates]
    for key, values in (("load", leased), ("count", counts)):
        pairs = itertools.chain.from_iterable(zip(slots, values, strict=True))
        await store.call("HSET", f"gw:{{{BACKEND}}}:{key}", *pairs)
    leases = replica(store, Clock(), fresh=True)
    grant = await leases.acquire(BACKEND, leases.new_id(), candidates, weight)
    assert grant.index == pick(candidates, leased, counts, weight)
    assert grant.leased == tuple(leased)
    assert grant.counts == tuple(counts)
    if grant.index is not None:
        taken = candidates[grant.index]
        load = await store.call("HGET", f"gw:{{{BACKEND}}}:load", slots[grant.index])
        assert int(load) == leased[grant.index] + min(taken.work, taken.limit)
