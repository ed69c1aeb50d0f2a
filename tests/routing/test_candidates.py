"""The rows of the pick: made once, when somebody looks."""

from __future__ import annotations

import pytest

from gateway.model import Kind, Speed
from gateway.routing.candidates import Candidates, class_share, make_candidates
from gateway.routing.estimate import work_on
from gateway.routing.learn import PRIOR
from tests.worlds import PRICE, policy, request, state, upstream

LOCAL, MANAGED = policy().models["m"].served_by
SLOW = Speed(16.0, 0.12, 0.08)


def test_each_worker_has_the_work_of_its_own_kind() -> None:
    workers = [
        upstream("a", "gpu"),
        upstream("b", "gpu", speed=SLOW),
        upstream("c", "gpu", speed=SLOW, seats=8),
        upstream("d", "gpu"),
    ]
    made = make_candidates(request(), LOCAL, [state(one) for one in workers], PRIOR, 1.0)
    assert [one.work for one in made] == [work_on(one, request()) for one in workers]
    assert len({one.work for one in made}) == 3
    assert [one.seats for one in made] == [64, 64, 8, 64]


def test_work_is_clamped_so_that_an_idle_worker_takes_any_request() -> None:
    one = make_candidates(request(), LOCAL, [state(upstream("a", "gpu"), limit=10)], PRIOR, 0.7)[0]
    assert (one.work, one.limit) == (7, 7)


def test_a_bought_api_takes_one_unit_and_costs_money() -> None:
    one = make_candidates(request(max_tokens=None), MANAGED, [state(upstream("a", "api"))], PRIOR, 1.0)[0]
    assert one.work == 1
    assert one.served.price == PRICE
    assert one.price is not None
    assert one.price_most == one.price > 0, "what nothing bounds is set aside at its expected price"


@pytest.mark.parametrize(
    ("kind", "share", "limit", "may_fill"),
    [
        ("local", 1.0, 1000, 1000),
        ("local", 0.9, 1000, 900),
        ("local", 0.7, 1000, 700),
        ("local", 0.7, 1, 1),
        ("managed", 0.7, 1000, 1000),
        ("managed", 0.7, 0, 1),
    ],
)
def test_what_a_class_may_fill(kind: Kind, share: float, limit: int, may_fill: int) -> None:
    served, backend = (LOCAL, "gpu") if kind == "local" else (MANAGED, "api")
    states = [state(upstream("a", backend), limit=limit)]
    assert make_candidates(request(), served, states, PRIOR, class_share(kind, share))[0].limit == may_fill


def test_candidates_are_a_sequence_that_is_made_once_and_as_long_as_its_sample() -> None:
    states = [state(upstream(name, "gpu")) for name in ("a", "b", "c")]
    candidates = Candidates(request(), LOCAL, states, PRIOR, 1.0)
    assert len(candidates) == 3
    assert [one.upstream.name for one in candidates] == ["a", "b", "c"]
    assert candidates[1] is candidates[1] is list(candidates)[1]
    assert [one.upstream.name for one in candidates[1:]] == ["b", "c"]
