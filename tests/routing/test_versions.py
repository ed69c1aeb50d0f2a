"""Versions side by side: which one a session gets, and that it keeps it wherever it goes."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import NoCapacity
from gateway.model import Decision, Model, Policy, Served, Spill
from gateway.routing.decide import decide
from gateway.routing.versions import ranking, session_of, weights_of
from tests.worlds import PRICE, board, policy, reading, request, rule, upstream

SESSIONS = [f"t\0session-{number}".encode() for number in range(20_000)]
weights = st.dictionaries(st.sampled_from(["v1", "v2", "v3", "v4"]), st.floats(0.1, 100), min_size=2)


def shares(of: dict[str, float]) -> dict[str, float]:
    return {name: weight / sum(of.values()) for name, weight in of.items()}


@given(weights)
@settings(max_examples=8, deadline=None)
def test_shares_are_the_weights(of: dict[str, float]) -> None:
    """Within four standard deviations of a fair draw."""
    firsts = [ranking(session, of)[0] for session in SESSIONS]
    for name, share in shares(of).items():
        bound = 4 * (share * (1 - share) / len(SESSIONS)) ** 0.5
        assert abs(firsts.count(name) / len(SESSIONS) - share) <= bound


@given(weights, st.sampled_from(["v1", "v2", "v3", "v4"]), st.floats(0.1, 10))
@settings(max_examples=8, deadline=None)
def test_one_changed_weight_moves_only_the_sessions_that_must(of: dict[str, float], name: str, factor: float) -> None:
    """All of them to that version, or away from it."""
    after = {**of, name: of.get(name, 1.0) * factor}
    moved = [
        (one, other)
        for session in SESSIONS
        if (one := ranking(session, of)[0]) != (other := ranking(session, after)[0])
    ]
    assert all(name in pair for pair in moved)
    assert len({pair.index(name) for pair in moved}) <= 1, "none comes while another goes"


def test_ninety_ten_to_eighty_twenty_moves_a_tenth() -> None:
    before, after = {"v1": 90.0, "v2": 10.0}, {"v1": 80.0, "v2": 20.0}
    moved = sum(ranking(session, before) != ranking(session, after) for session in SESSIONS)
    assert moved / len(SESSIONS) == pytest.approx(0.1, abs=0.01)
    assert sum(ranking(s, before) != ranking(s, {"v1": 9.0, "v2": 1.0}) for s in SESSIONS) == 0


def test_a_part_of_the_versions_is_split_by_their_weights_and_in_the_same_order() -> None:
    of = {"v1": 60.0, "v2": 30.0, "v3": 10.0}
    for pair in combinations(of, 2):
        part = {name: of[name] for name in pair}
        for session in SESSIONS[:500]:
            whole = [name for name in ranking(session, of) if name in part]
            assert list(ranking(session, part)) == whole


def test_the_hash_is_the_same_for_ever() -> None:
    """A replica of another release must agree."""
    found = [ranking(session, {"v1": 1.0, "v2": 1.0})[0] for session in SESSIONS[:12]]
    assert found == KEPT


KEPT = ["v2", "v1", "v1", "v1", "v1", "v1", "v1", "v2", "v1", "v2", "v2", "v1"]


def test_a_session_is_its_tenants_own_and_a_request_without_one_is_its_own() -> None:
    assert session_of(request(session="s")) == b"t\0s"
    assert session_of(request(id="r7")) == b"r7"
    assert session_of(request(id="r7", session="")) == b"r7"


V1, V2 = (Served("gpu", f"real-{name}", version=name, weight=weight) for name, weight in (("v1", 90.0), ("v2", 10.0)))


def of_session(version: str) -> str:
    """A session that belongs to it."""
    return next(s.partition(b"\0")[2].decode() for s in SESSIONS if ranking(s, weights_of(MODEL))[0] == version)


MODEL = Model("m", "text", (V1, V2, Served("api", "bought", PRICE)))


def side_by_side(model: Model = MODEL, **changes: Any) -> Policy:
    chosen = rule(spill=Spill(("api",)), fallback=("api",), **changes)
    return replace(policy(rules=(chosen,)), models={"m": model})


def served(decision: Decision) -> list[list[str]]:
    groups = (*decision.primary, *decision.overflow)
    return [sorted({one.served.name for one in group.candidates}) for group in groups]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_every_candidate_of_a_backend_serves_the_sessions_version(version: str) -> None:
    for seed in range(5):
        decision = decide(request(session=of_session(version)), board(side_by_side()), Random(seed))
        assert served(decision) == [[f"real-{version}"], ["bought"]]
        assert decision.version == version
        again = decide(
            request(session=of_session(version)), board(side_by_side()), Random(seed), excluded=frozenset({"w1"})
        )
        assert served(again) == [[f"real-{version}"], ["bought"]], "a retry keeps it"


def loaded(*names: str, **more: Any) -> dict[str, Any]:
    return {"reading": reading(models=names), **more}


def test_only_workers_that_have_the_version_get_it() -> None:
    seen = board(side_by_side(), w1=loaded("real-v1"), w2=loaded("real-v2", "adapter"))
    for version, worker in (("v1", "w1"), ("v2", "w2")):
        decision = decide(request(session=of_session(version)), seen, Random(1))
        (home,) = decision.primary
        assert [(one.upstream.name, one.served.version) for one in home.candidates] == [(worker, version)]
        assert decision.drops == {"model_loaded": 1}


@pytest.mark.parametrize("gone", ["health", "model_loaded", "failed_before"])
def test_where_no_worker_can_serve_it_the_next_version_does_before_anything_is_bought(gone: str) -> None:
    states = {"health": loaded("real-v2", out="down"), "model_loaded": loaded("real-v1")}
    seen = board(side_by_side(), w1=loaded("real-v1"), w2=states.get(gone, loaded("real-v2")))
    excluded = frozenset({"w2"}) if gone == "failed_before" else frozenset()
    decision = decide(request(session=of_session("v2")), seen, Random(1), excluded=excluded)
    assert served(decision)[0] == ["real-v1"]
    assert decision.version == "v2", "told beside the version that it got"


def test_a_version_is_kept_at_a_backend_beyond_that_has_it() -> None:
    beyond = tuple(Served("api", f"bought-{one}", PRICE, one, w) for one, w in (("v2", 10.0), ("v3", 5.0)))
    model = replace(MODEL, served_by=(V1, V2, *beyond))
    for number in range(40):
        session = f"session-{number}"
        decision = decide(request(session=session), board(side_by_side(model)), Random(1))
        home, away = served(decision)
        if home == ["real-v2"]:
            assert away == ["bought-v2"]
        mine = ranking(f"t\0{session}".encode(), weights_of(model))
        assert away == [f"bought-{next(one for one in (home[0][-2:], *mine) if one in ('v2', 'v3'))}"]


def test_one_home_backend_with_another_version_does_not_take_a_session_that_the_other_can_serve() -> None:
    second = Served("gpu2", "second-v2", version="v2", weight=10.0)
    made = policy((upstream("w1", "gpu"), upstream("w2", "gpu2")), (rule(backends=("gpu", "gpu2"), spill=None),))
    made = replace(made, models={"m": Model("m", "text", (V1, second))})
    for version, name in (("v1", "real-v1"), ("v2", "second-v2")):
        assert served(decide(request(session=of_session(version)), board(made), Random(1))) == [[name]]
    down = board(made, w2={"out": "down"})
    assert served(decide(request(session=of_session("v2")), down, Random(1))) == [["real-v1"]]
    with pytest.raises(NoCapacity) as caught:
        decide(request(session=of_session("v2")), board(made, w1={"out": "down"}, w2={"out": "down"}), Random(1))
    assert caught.value.drops == {"health": 1}
