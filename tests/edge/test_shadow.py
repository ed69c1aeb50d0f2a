"""What a candidate would have decided: what counts as another decision, and whose tenant it is."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from gateway.edge.shadow import EXAMPLES, Seen, Shadow, Tally, differences, seen
from gateway.errors import GatewayError, ModelNotAllowed
from gateway.model import Decision, Match, Policy, Spill, Tenant, Threshold
from gateway.policy.candidate import Candidate, Trial
from gateway.routing.board import Board
from gateway.routing.decide import decide
from gateway.telemetry import Telemetry
from tests.polling import until
from tests.worlds import board, policy, reading, request, rule


def answer(made: Policy, **states: Any) -> Decision | GatewayError:
    try:
        return decide(request(), board(made, **states), Random(1))
    except GatewayError as error:
        return error


def of(**changes: Any) -> Policy:
    return policy(rules=(rule(**changes),), version="v2")


@pytest.mark.parametrize(
    ("changed", "fields"),
    [
        (of(), ()),
        (of(name="other"), ("rule",)),
        (of(max_wait=3.0), ("max_wait",)),
        (of(spill=None), ("beyond",)),
        (of(backends=("api",), spill=None), ("outcome", "backend", "beyond")),
        (of(spill=Spill(("api",), when=(Threshold("queue_depth", True, False, 5),))), ("outcome", "backend", "beyond")),
        (of(match=Match(model="x")), ("rule", "outcome", "backend", "beyond", "max_wait", "refused")),
    ],
)
def test_what_is_another_decision(changed: Policy, fields: tuple[str, ...]) -> None:
    busy = {"reading": reading(waiting=9)}
    new = replace(changed, rules=(*changed.rules, rule("last", match=Match(model="y")))) if fields else changed
    assert differences(seen(answer(policy(), w1=busy, w2=busy)), seen(answer(new, w1=busy, w2=busy))) == fields


def shadow(telemetry: Telemetry) -> Shadow:
    return Shadow(telemetry, Random(1), Board)


async def test_it_counts_and_keeps_a_few_examples() -> None:
    telemetry = Telemetry()
    made, snapshot = shadow(telemetry), board().snapshot
    tried = Candidate(Trial("v2", "shadow"), of(name="other", max_wait=3.0))
    for number in range(EXAMPLES + 2):
        made.later(tried, request(id=f"r{number}"), answer(policy()), snapshot)
    await until(lambda: made.tally.different == EXAMPLES + 2)
    row = made.tally.row()
    assert row["fields"] == {"rule": EXAMPLES + 2, "max_wait": EXAMPLES + 2}
    assert [example["request"] for example in row["examples"]] == [f"r{number}" for number in range(2, EXAMPLES + 2)]
    assert row["examples"][0]["old"] == {"rule": "chat", "max_wait": 0.0}
    made.later(Candidate(Trial("v3", "shadow"), of()), request(), answer(policy()), snapshot)
    await until(lambda: made.tally.same == 1)
    assert made.tally.row()["different"] == 0, "the next candidate begins anew"


def test_a_trial_begins_with_nothing_and_goes_on_with_what_it_has() -> None:
    made = shadow(Telemetry())
    first = Trial("v2", "share", 0.1, begun=4)
    made.tried(Candidate(first, of()))
    assert made.tally_of(first).row()["tried"] == 1
    for other in (replace(first, version="v3"), replace(first, mode="shadow"), replace(first, begun=5)):
        assert made.tally_of(other).row() == Tally().row()
        made.tried(Candidate(first, of()))


async def test_another_name_of_the_rule_alone_is_no_other_decision() -> None:
    made = shadow(Telemetry())
    made.later(Candidate(Trial("v2", "shadow"), of(name="other")), request(), answer(policy()), board().snapshot)
    await until(lambda: made.tally.renamed == 1)
    assert (made.tally.same, made.tally.different, list(made.tally.examples)) == (0, 0, [])


def test_the_tenant_is_the_candidates() -> None:
    narrow = replace(of(), tenants={"t": Tenant("t", models=("other",))})
    made = shadow(Telemetry())
    assert made._decide(narrow, request(), board().snapshot) == Seen(None, refused=ModelNotAllowed.code)
    gone = replace(of(), tenants={"u": Tenant("u")})
    assert made._decide(gone, request(), board().snapshot).refused == "invalid_key"
