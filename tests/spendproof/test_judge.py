"""The judge of the budget's proof: each promise can fail, and what is as it must be passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from loadtests.spendproof.judge import Booked, Counter, Evidence, holds, judge

FINE = Evidence(
    cap=1_000,
    ledger={"a": Booked(300, True), "b": Booked(200, True), "c": Booked(400, False), "d": Booked(90, True, False)},
    bills={"a": 300, "b": 200, "c": 250, "d": 60},
    last=Counter(990, 0),
    looks=5,
    most=1_000,
    dearest=50,
    kills=2,
    answered=2,
    refused=3,
)


@dataclass(frozen=True)
class Bad:
    what: str
    changed: dict[str, Any]


BAD = [
    Bad("spent and set aside", {"most": 1_001}),
    Bad("spent and set aside", {"looks": 0}),
    Bad("settled attempts that differ", {"bills": {**FINE.bills, "a": 299}}),
    Bad("settled attempts that differ", {"bills": {"b": 200, "c": 250, "d": 60}}),
    Bad(
        "settled attempts that differ",
        {"ledger": {name: row._replace(known=False) for name, row in FINE.ledger.items()}},
    ),
    Bad("billed attempts that the ledger lacks", {"bills": {**FINE.bills, "x": 1}}),
    Bad("billed above what is booked", {"bills": {**FINE.bills, "c": 401}}),
    Bad("ledger's sum beside", {"last": Counter(989, 0)}),
    Bad("still set aside", {"last": Counter(990, 1)}),
    Bad("left of it", {"cap": 1_100}),
    Bad("replicas killed", {"kills": 0}),
    Bad("refused for the budget", {"refused": 0}),
]


def test_what_is_as_it_must_be_holds() -> None:
    assert holds(FINE)
    told = {line.what: line.figure for line in judge(FINE)}
    assert told["spent and set aside, at most"] == "$0.001000 of $0.001000, 5 looks"
    assert told["died on the way: booked at what was set aside"] == "1 attempts and 0 slices, $0.000400"


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.what)
def test_each_promise_can_fail(bad: Bad) -> None:
    seen = FINE._replace(**bad.changed)
    assert not holds(seen)
    assert any(bad.what in line.what and not line.holds for line in judge(seen))


def test_an_answer_that_must_not_be_fails_it() -> None:
    assert not holds(FINE._replace(wrong=["1 x refused 500 internal_error"]))
