"""The table of whom a recorded decision looked at."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.console.candidates import candidates
from gateway.rehearsal.receipt_shape import as_receipt
from tests.rehearsal.test_recorded import RAW
from tests.worlds import policy

TRIED = {"upstream": "w1", "at_ms": 1.0, "took_ms": 2.0}


def rows(**other: Any) -> list[dict[str, Any]]:
    return candidates(policy(), as_receipt({**RAW, **other}))


def test_each_row_says_what_was_known_and_what_became_of_it() -> None:
    full, also_full, bought = rows()
    assert full == {
        "upstream": "w1",
        "backend": "gpu",
        "kind": "local",
        "score": 1.0,
        "load": 1.02,
        "with_it": 1.047,
        "limit": None,
        "limit_s": 0.9,
        "age_ms": 120.0,
        "end": "no_room",
        "why": None,
    }
    assert (also_full["end"], also_full["age_ms"]) == ("no_room", None)
    assert (bought["kind"], bought["limit"], bought["limit_s"], bought["end"]) == ("managed", 1000, None, "took_it")


def test_the_order_is_the_decisions() -> None:
    assert [row["upstream"] for row in rows(candidates=RAW["candidates"][::-1])] == ["a1", "w2", "w1"]


@pytest.mark.parametrize(
    ("given", "end", "why"),
    [
        ({}, "passed_over", None),
        ({"attempts": [{"upstream": "w1", "result": "upstream_error", "status": 503, "at_ms": 1.0, "took_ms": 2.0}]},
         "failed", "upstream_error, status 503"),
        ({"attempts": [{"upstream": "w1", "result": "unreachable", "status": None, "at_ms": 1.0, "took_ms": 2.0}]},
         "failed", "unreachable"),
        ({"chosen": "w1", "outcome": "local"}, "took_it", None),
        ({"chosen": "w1", "outcome": "left", "attempts": [TRIED | {"result": "client_left"}]}, "left", None),
        ({"chosen": "w1", "outcome": "left", "attempts": [TRIED | {"result": "client_stalled"}]}, "left", None),
        ({"chosen": "w1", "outcome": "left", "attempts": [TRIED | {"result": "answered", "status": 200}]},
         "left", None),
        ({"attempts": [TRIED | {"result": "lost", "status": 200}]}, "slower", None),
        ({"chosen": "w1", "outcome": "failed", "attempts": [TRIED | {"result": "cancelled"}]}, "cut", None),
        ({"chosen": "w1", "outcome": "failed", "attempts": [
            {"upstream": "w1", "result": "broken", "at_ms": 1.0, "took_ms": 2.0}]}, "failed", "broken"),
    ],
)  # fmt: skip
def test_what_became_of_one_with_room(given: dict[str, Any], end: str, why: str | None) -> None:
    (row,) = rows(candidates=[{**RAW["candidates"][0], "load": 0.5}], **given)
    assert (row["end"], row["why"]) == (end, why)


@pytest.mark.parametrize(
    ("load", "end"), [(0.975, "passed_over"), (0.97505, "passed_over"), (0.9751, "no_room"), (1.2, "no_room")]
)
def test_a_load_that_was_rounded_up_makes_nobody_full(load: float, end: str) -> None:
    """A receipt has loads in steps of 0.0001: 0.97505 and 0.025 may have been 1."""
    (row,) = rows(candidates=[{**RAW["candidates"][0], "load": load, "work": 25, "limit": 1000}])
    assert row["end"] == end


def test_what_another_policy_knew_or_a_receipt_does_not_tell_is_unknown() -> None:
    gone, bare = rows(candidates=[{**RAW["candidates"][0], "upstream": "gone"}, {"upstream": "w1"}])
    assert (gone["kind"], gone["backend"], gone["limit"], gone["limit_s"], gone["load"]) == (
        None,
        None,
        None,
        None,
        1.02,
    )
    assert [bare[name] for name in ("score", "load", "with_it", "limit_s", "age_ms")] == [None] * 5
    assert bare["end"] == "passed_over"
