"""The facts of conditions: what each says, that only what is read is built, that unknown is absent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.model import Demand, Learned, Price, Served, Tenant
from gateway.policy.cel import compile_condition
from gateway.policy.cel_names import FIELDS
from gateway.routing.board import Board
from gateway.routing.estimate import work_of
from gateway.routing.facts import LONGEST_TEXT, REQUEST, facts, sorted_out
from gateway.routing.learn import PRIOR
from tests.worlds import LIMIT, board, policy, reading, request, rule, upstream

NOON = datetime(2026, 11, 22, 12, 34, 56, tzinfo=UTC).timestamp()  # a Sunday
HOME = Tenant("t", residency=Demand(local=True))
BUSY = {"leased": 900_000, "outside": 50_000, "inflight": 3}


def told(name: str, made: Board | None = None, **changes: Any) -> Any:
    """The value of one reading, such as `fleet.load`; None where it is unknown."""
    found: Any = facts(sorted_out(frozenset({name})), request(**changes), rule(), made or board(at=NOON))
    for part in name.split("."):
        found = found.get(part) if found is not None else None
    return found


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("model", {}, "m"),
        ("endpoint", {"endpoint": "responses"}, "responses"),
        ("modality", {}, "text"),
        ("priority", {"priority": "batch"}, "batch"),
        ("stream", {"stream": True}, True),
        ("prompt_tokens", {"prompt_bytes": 420}, 100),
        ("output_tokens", {"max_tokens": 7, "n": 3}, 21),
        ("prompt_bytes", {"prompt_bytes": 420}, 420),
        ("n", {"n": 3}, 3),
        ("max_tokens", {"max_tokens": 7}, 7),
        ("max_tokens", {"max_tokens": None}, None),
        ("residency", {}, []),
        ("residency", {"residency": Demand(zones=frozenset({"eu", "de"})), "tenant": HOME}, ["local", "de", "eu"]),
        ("headers", {"headers": {"x-a": "1", "x-b": "y" * (LONGEST_TEXT + 1)}}, {"x-a": "1"}),
        ("session", {"session": "s"}, "s"),
        ("session", {"session": "s" * (LONGEST_TEXT + 1)}, None),
        ("session", {}, None),
        ("text_only", {"text_only": False}, False),
        ("hour", {}, 12),
        ("minute", {}, 34),
        ("weekday", {}, 6),
    ],
)
def test_of_the_request(name: str, changes: dict[str, Any], expected: object) -> None:
    assert told(f"request.{name}", **changes) == expected


def test_of_the_tenant() -> None:
    tenant = Tenant("acme", tags=frozenset({"gold", "eu"}), priority="standard")
    found = [told(f"tenant.{name}", tenant=tenant) for name in ("name", "tags", "priority")]
    assert found == ["acme", ["eu", "gold"], "standard"]


def test_of_the_fleet() -> None:
    seen = {"reading": reading(at=NOON, waiting=4, kv=0.5, gpu=0.9)}
    made = board(at=NOON, w1={**BUSY, **seen}, w2={"leased": 500_000, **seen})
    assert [told(f"fleet.{name}", made) for name in ("workers", "up", "inflight")] == [2, 2, 3]
    assert told("fleet.load", made) == pytest.approx((0.95 + 0.5) / 2)
    assert [told(f"fleet.{name}", made) for name in ("queue_depth", "kv_util", "gpu_util")] == [4.0, 0.5, 0.9]


def test_the_wait_is_the_shortest_until_a_typical_request_fits() -> None:
    made = board(at=NOON, w1={"leased": LIMIT, "outside": 7_000}, w2={"leased": 2 * LIMIT})
    typical = work_of(made.policy.upstreams["w1"], round(PRIOR.prompt), round(PRIOR.output))
    assert told("fleet.wait_ms", made) == pytest.approx((typical + 7_000) / 1_000)
    assert told("fleet.wait_ms") == 0.0


def test_what_nobody_told_lately_is_unknown() -> None:
    assert [told(f"fleet.{name}") for name in ("queue_depth", "kv_util", "gpu_util")] == [None] * 3
    old = board(at=NOON, w1={"reading": reading(at=NOON - 60, gpu=0.9)})
    assert told("fleet.gpu_util", old) is None
    down = board(at=NOON, w1={"out": "down"}, w2={"out": "down"})
    assert [told(f"fleet.{name}", down) for name in ("workers", "up", "load", "wait_ms")] == [2, 0, None, None]


def test_of_a_backend() -> None:
    made = board(at=NOON, w1=BUSY, a1={"leased": 250, "headroom": 0.5})
    assert [told(f"backend.gpu.{name}", made) for name in ("kind", "up", "workers")] == ["local", 2, 2]
    assert told("backend.gpu.load", made) == pytest.approx(0.475)
    assert [told(f"backend.api.{name}", made) for name in ("kind", "up", "load", "headroom")] == [
        "managed",
        1,
        0.25,
        0.5,
    ]
    assert told("backend.gpu.headroom", made) is None
    price = told("backend.api.price_usd", made, prompt_bytes=4_200, max_tokens=100)
    assert price == pytest.approx((0.25 * 1000 + 0.75 * 100) / 1e6)
    assert told("backend.gpu.price_usd", made) is None


def test_a_backend_with_dots_and_one_that_does_not_serve_the_model() -> None:
    world = policy((upstream("w1", "gpu"), upstream("a1", "api.v1"), upstream("b1", "api2")))
    model = world.models["m"]
    served = (*model.served_by[:1], Served("api.v1", "x", Price.of(1.0, 1.0)))
    made = board(policy(tuple(world.upstreams.values()), models={"m": type(model)("m", "text", served)}), at=NOON)
    reads = sorted_out(frozenset({"backend.api.v1.price_usd", "backend.api2.price_usd"}))
    found: Any = facts(reads, request(), rule(), made)["backend"]
    assert found["api.v1"]["price_usd"] > 0
    assert "price_usd" not in found["api2"]


def test_loads_are_shares_of_the_limit_that_holds_for_the_rule() -> None:
    assert told("fleet.load", board(at=NOON, w1=BUSY, w2=BUSY)) == pytest.approx(0.95)


def test_only_what_is_read_is_built_and_what_the_snapshot_says_is_remembered() -> None:
    made = board(at=NOON)
    found = facts(sorted_out(frozenset({"request.n", "fleet.load"})), request(), rule(), made)
    assert {root: set(fields) for root, fields in found.items() if root == "request"} == {"request": {"n"}}
    assert set(found) == {"request", "fleet"}
    again = facts(sorted_out(frozenset({"fleet.up"})), request(id="r2"), rule(), made)
    assert again["fleet"] is found["fleet"]
    assert facts(sorted_out(frozenset()), request(), rule(), made) == {"request": {}}


def test_every_declared_field_is_built_and_of_its_type() -> None:
    assert set(REQUEST) == set(FIELDS["request"])
    seen = {"reading": reading(at=NOON, waiting=1)}
    made = board(at=NOON, w1=seen, w2=seen, a1={"headroom": 0.5})
    full = request(max_tokens=5, session="s", headers={"x": "y"}, tenant=Tenant("t", tags=frozenset({"a"})))
    for root, fields in FIELDS.items():
        for name in fields:
            owner = "backend.api" if name in ("headroom", "price_usd") else "backend.gpu"
            path = f"{owner if root == 'backend' else root}.{name}"
            text = "has(request.headers.x)" if name == "headers" else f"has({path}) && [{path}] == [{path}]"
            condition = compile_condition(text, ("gpu", "api"))
            assert condition(facts(sorted_out(condition.reads), full, rule(), made)), path


def test_lengths_that_were_learned_count() -> None:
    learned = Learned(1000, 3000, 400, 100)
    made = board(at=NOON)
    taught = Board(made.policy, type(made.snapshot)(NOON, made.snapshot.states, learned={"m": learned}))
    assert told("request.prompt_tokens", taught, prompt_bytes=300) == 100
    assert told("request.prompt_tokens", made, prompt_bytes=300) == round(300 / PRIOR.bytes_per_token)
