"""A custom model stays at home by construction: whatever rules say, no API is in its pools or permits."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError, NoCapacity
from gateway.model import Hedge, Model, Policy
from gateway.routing.decide import decide
from tests.worlds import board, fleets, policy, request, rule


@given(fleets(), st.booleans(), st.sets(st.sampled_from(["u0", "u1", "u2", "u3"])), st.integers(0, 9))
def test_nothing_of_a_custom_model_leaves(made: Policy, written: bool, out: set[str], seed: int) -> None:
    """Neither where an API is written for it all the same, nor where only the rules name one."""
    ways = made.models["m"].served_by
    served = ways if written else tuple(one for one in ways if one.price is None)
    model = Model("m", "text", served, custom=True)
    chosen = replace(made.rules[0], hedge=Hedge(after=0.0))
    mine = replace(made, models={"m": model}, rules=(chosen,))
    bought = {name for name, one in made.upstreams.items() if one.kind == "managed"}
    states = {name: {"out": "down"} for name in out if name in made.upstreams}
    for excluded in (frozenset[str](), frozenset({"u0"})):
        try:
            decision = decide(request(), board(mine, **states), Random(seed), excluded=excluded)  # type: ignore[arg-type]
        except GatewayError:
            continue
        assert not decision.permit.upstreams & bought
        groups = (*decision.primary, *decision.overflow)
        assert not {one.upstream.name for group in groups for one in group.candidates} & bought


def test_the_same_model_leaves_where_it_is_not_custom() -> None:
    """The property above can fail."""
    free, down = policy(rules=(rule(fallback=("api",)),)), {"out": "down"}
    assert "a1" in decide(request(), board(free, w1=down, w2=down), Random(1)).permit.upstreams
    kept = replace(free, models={"m": replace(free.models["m"], custom=True)})
    with pytest.raises(NoCapacity) as caught:
        decide(request(), board(kept, w1=down, w2=down), Random(1))
    assert caught.value.drops == {"health": 2, "capability": 1}
