"""Where a second attempt may go, and who may end a stream: never where the data must not, nor the same one twice."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.edge.account import Attempt
from gateway.edge.delivered import Delivered
from gateway.edge.elsewhere import beside, on_alike, repeatable, rescuable, sayable
from gateway.errors import GatewayError, Incapable, InvalidRequest, NoCapacity, Reset, UpstreamFault, UpstreamTimeout
from gateway.model import Decision, Demand, GenRequest, Lease, MediaAsk, Model, Policy, Served, Spill
from gateway.routing.board import Board
from gateway.routing.decide import decide
from gateway.routing.residency import allows
from tests.routing.test_reference import Words
from tests.worlds import ZONES, board, demands, fleets, policy, reading, request, rule, upstream

TWO = (upstream("w1", "gpu"), upstream("w2", "gpu"), upstream("a1", "api"))
ONE = (upstream("w1", "gpu"), upstream("a1", "api"))


def newest(asked: GenRequest, made: Policy, seen: Board | None = None) -> Any:
    """`Forward._newest` for this request."""
    return lambda excluded: decide(asked, seen or board(made), Random(1), excluded=excluded)


def leased(decision: Decision, name: str) -> Lease:
    groups = (*decision.primary, *decision.overflow)
    group, one = next((group, one) for group in groups for one in group.candidates if one.upstream.name == name)
    return Lease("id", one, group, f"{name}@0", decision)


def names(decision: Decision | None) -> list[str]:
    groups = () if decision is None else (*decision.primary, *decision.overflow)
    return sorted(one.upstream.name for group in groups for one in group.candidates)


def second(
    late: str, upstreams: Any, failed: tuple[str, ...] = (), asked: GenRequest | None = None, **said: Any
) -> list[str]:
    made = policy(upstreams, (rule(**said),))
    asked = asked or request()
    lease = leased(decide(asked, board(made), Random(1)), late)
    return names(beside(newest(asked, made), lease, failed, made))


@pytest.mark.parametrize(
    ("late", "upstreams", "said", "where"),
    [
        ("w1", TWO, {"spill": None}, ["w2"]),
        ("w1", TWO, {"spill": Spill(("api",))}, ["a1", "w2"]),
        ("w1", ONE, {"spill": None}, []),
        ("w1", ONE, {"spill": Spill(("api",))}, ["a1"]),
        ("w1", ONE, {"spill": None, "fallback": ("api",)}, []),
        ("w1", ONE, {"spill": Spill(("api",)), "fallback": ("api",)}, ["a1"]),
        ("a1", TWO, {"backends": ("api",), "spill": None}, []),
        ("a1", TWO, {"backends": ("api", "gpu"), "spill": None}, ["w1", "w2"]),
        ("a1", (*ONE, upstream("a2", "api")), {"spill": Spill(("api",))}, ["w1"]),
    ],
    ids=[
        "home",
        "home or away",
        "nobody",
        "away",
        "not by fallback",
        "both",
        "an API alone",
        "back home",
        "of two one is bought",
    ],
)
def test_where_it_may_go(late: str, upstreams: Any, said: dict[str, Any], where: list[str]) -> None:
    assert second(late, upstreams, **said) == where


def test_flagged_data_stays() -> None:
    assert second("w1", ONE, asked=request(residency=Demand(local=True))) == []


@pytest.mark.parametrize(
    ("versions", "where"),
    [(("v1", "v2"), []), (("v1", "v1"), ["w2"]), (("v1", None), ["w2"]), ((None, "v1"), ["w2"])],
)
def test_a_late_version_is_not_answered_by_another(versions: tuple[str | None, ...], where: list[str]) -> None:
    served = tuple(Served(f"gpu{n}", f"real-{n}", version=version, weight=1.0) for n, version in enumerate(versions, 1))
    made = policy(
        tuple(upstream(f"w{n}", f"gpu{n}") for n in (1, 2)),
        (rule(backends=("gpu1", "gpu2"), spill=None),),
        models={"m": Model("m", "text", served)},
    )
    sessions = (request(session=f"s{number}") for number in range(50))
    asked = next(one for one in sessions if "w1" in names(decide(one, board(made), Random(1))))
    lease = leased(decide(asked, board(made), Random(1)), "w1")
    assert names(beside(newest(asked, made), lease, (), made)) == where


def test_who_failed_is_not_asked_again() -> None:
    assert second("w1", TWO, ("w2",), spill=None) == []


@given(fleets(), demands, st.integers(0, 5))
def test_wherever_it_goes_its_data_may_go(made: Policy, demand: Demand, number: int) -> None:
    """Policies of any kind; the first attempt at any of the candidates."""
    asked = request(residency=demand)
    try:
        first = decide(asked, board(made), Random(1))
    except GatewayError:
        return
    candidates = [one for group in (*first.primary, *first.overflow) for one in group.candidates]
    assume(candidates)
    late = leased(first, candidates[number % len(candidates)].upstream.name)
    found = beside(newest(asked, made), late, (), made)
    assert late.candidate.upstream.name not in names(found)
    for name in names(found):
        assert found is not None
        one = made.upstreams[name]
        assert name in found.permit.upstreams
        assert allows(found.demand, one, ZONES)
        assert not (one.kind == "managed" and late.candidate.upstream.kind == "managed")
    with_engine = Lease("id", late.candidate, late.group, "x", first)
    try:
        rest = on_alike(
            decide(asked, board(made), Random(1), excluded=frozenset({late.candidate.upstream.name})),
            with_engine,
            "chat/completions",
            board(made),
        )
    except GatewayError:
        return
    for name in names(rest):
        one = made.upstreams[name]
        assert (one.kind, one.backend) == ("local", late.candidate.upstream.backend)
        assert allows(rest.demand, one, ZONES)
    assert rest.overflow == ()


@pytest.mark.parametrize(
    ("fields", "on_fields", "may"),
    [
        ((), {}, True),
        (("store",), {}, True),
        (("store",), {"store": "pass"}, False),
        (("kv_transfer_params",), {"kv_transfer_params": "pass"}, False),
        (("n", "priority"), {"priority": "pass"}, True),
    ],
)
def test_what_leaves_something_behind_is_not_asked_of_two(fields: tuple[str, ...], on_fields: Any, may: bool) -> None:
    assert repeatable(request(fields=fields), rule(on_fields=on_fields)) is may


def test_media_are_never_asked_of_two() -> None:
    assert not repeatable(request(media=MediaAsk()), rule())


def alike(
    engines: dict[str, str | None], read: dict[str, str | None] | None = None, endpoint: str = "chat/completions"
) -> list[str]:
    """Who may go on with what `w1` began."""
    made = policy(tuple(upstream(name, "gpu", engine=engine) for name, engine in engines.items()), (rule(spill=None),))
    states = {name: {"reading": reading(engine=engine)} for name, engine in (read or {}).items()}
    decision = decide(request(), seen := board(made, **states), Random(1))
    broken = leased(decision, "w1")
    rest = decide(request(), seen, Random(1), excluded=frozenset({"w1"}))
    return names(on_alike(rest, broken, endpoint, seen))


def test_only_engines_that_can_go_on() -> None:
    assert alike({"w1": "vllm", "w2": "sglang", "w3": "tgi", "w4": "auto"}) == ["w2"]
    assert alike({"w1": "vllm", "w2": "auto"}, {"w2": "vllm"}) == ["w2"]
    assert alike({"w1": "tgi", "w2": "tgi"}, endpoint="completions") == ["w2"]
    with pytest.raises(NoCapacity):
        alike({"w1": "vllm", "w2": "vllm"}, {"w2": "tgi"})


def test_only_the_same_weights() -> None:
    made = policy(TWO, (rule(spill=None),))
    decision = decide(request(), board(made), Random(1))
    lease = leased(decision, "w1")
    other = replace(lease, candidate=lease.candidate._replace(served=replace(lease.candidate.served, name="v2")))
    with pytest.raises(NoCapacity):
        on_alike(decision, other, "chat/completions", board(made))


@pytest.mark.parametrize(
    ("name", "fault", "may"),
    [
        ("w1", Reset("x"), True),
        ("w1", UpstreamTimeout("idle", 1.0), True),
        ("w1", UpstreamTimeout("idle", 1.0, held=True), False),
        ("w1", UpstreamTimeout("total", 1.0), False),
        ("a1", Reset("x"), False),
    ],
)
def test_which_ends_are_mended(name: str, fault: UpstreamFault, may: bool) -> None:
    lease = leased(decide(request(), board(policy(ONE)), Random(1)), name)
    delivered = Delivered.of(request(stream=True), {})
    assert delivered is not None
    assert rescuable(lease, fault, delivered) is may


def test_nobody_goes_on_who_would_have_to_translate() -> None:
    """It may begin such a stream; what another one wrote it cannot be told."""
    odd = upstream("w2", "gpu", endpoints=frozenset({"messages"}))
    made, asked = policy((upstream("w1", "gpu"), odd), (rule(spill=None),)), request(reworded=Words())
    broken = leased(decide(asked, board(made), Random(1)), "w1")
    rest = decide(asked, board(made), Random(1), excluded=frozenset({"w1"}))
    assert names(rest) == ["w2"]
    with pytest.raises(NoCapacity):
        on_alike(rest, broken, "chat/completions", board(made))


@pytest.mark.parametrize(("free", "raised"), [(True, Incapable), (False, InvalidRequest)])
def test_what_may_be_bought_already_is_not_ordered_elsewhere(free: bool, raised: type[Exception]) -> None:
    """An order that is gone on with under another policy may find no words for it any more."""
    attempt = Attempt("a1", "b1", "id", 0.0)
    attempt.free = free
    with pytest.raises(raised), sayable(attempt):
        raise InvalidRequest("size cannot be said to this model", param="size")
