"""A job outlives the policy that took it in: what is demanded of it by then holds too, also for what it made."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.edge import job_ask
from gateway.model import Demand, Match, Policy
from gateway.store.embedded import Embedded
from loadtests.residency.memory import Loop, running_loop
from loadtests.residency.oracle import Ask, Rule
from loadtests.residency.rig import Rig, looking_soon, rig
from loadtests.residency.traffic import Sent
from loadtests.residency.worlds import as_policy

from .test_conditions import ABROAD, HOME, SENT, WORLD, Far, Still

BODY = json.dumps({"model": "painter", "prompt": "nonce-1-end", "background": True}).encode()
JOB = Sent(
    Ask("painter", "acme", (), "standard", False, "images/generations"),
    [*SENT.headers, (b"x-gateway-deadline-ms", b"1500")],
    "/v1/images/generations",
    BODY,
    "wait=2",
    job=True,
)


class FirstTimes:
    """Holds as often as it is told to, as a condition does whose reading changes."""

    source, reads, headers = "first", frozenset[str](), frozenset[str]()

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self, facts: Mapping[str, Mapping[str, object]]) -> bool:
        self.left -= 1
        return self.left >= 0


def kept_in(made: Rig) -> list[Path]:
    return [path for path in made.kept.rglob("*") if path.is_file()]


async def flipping(place: Path, embedded: Embedded, times: int) -> tuple[list[str], list[Path]]:
    """The first rule demands nothing, the second one `eu`; results are kept where nobody knows. The first one holds so
    many times."""
    policy = as_policy(replace(WORLD, rules=(Rule("all", {}, ("gpu",), (), (), ()), *WORLD.rules)), Random(1), "w")
    rules = (replace(policy.rules[0], match=Match(when=FirstTimes(times))), *policy.rules[1:])
    far = running_loop().far = Far("answer")
    async with rig(place, embedded, replace(policy, rules=rules), Still()) as made:
        await made.call(JOB, lambda _: None)
        await made.idle()
        return far.reached, kept_in(made)


@pytest.mark.parametrize("times", range(8))
def test_a_rule_that_decides_later_has_a_say_in_where_results_lie(
    times: int, tmp_path: Path, own_server: Embedded
) -> None:
    with looking_soon(), asyncio.Runner(loop_factory=Loop) as runner:
        reached, kept = runner.run(flipping(tmp_path, own_server, times))
    lines = [json.loads(line) for path in tmp_path.glob("chain-*") for line in path.read_text().splitlines()]
    assert not [line for line in lines if line["what"] == "sent"], "under a demand nothing is made that has no place"
    assert len(reached) == len(kept) <= 1


def test_without_any_demand_it_is_made_and_kept(tmp_path: Path, own_server: Embedded) -> None:
    with looking_soon(), asyncio.Runner(loop_factory=Loop) as runner:
        reached, kept = runner.run(flipping(tmp_path, own_server, 1000))
    assert (reached, len(kept)) == ([HOME], 1)


async def tightened(
    place: Path, embedded: Embedded, before: Policy, after: Policy, patch: pytest.MonkeyPatch
) -> list[str]:
    """`after` comes into force while the job's request is being built again."""
    far, asked = Far("answer"), job_ask.asked
    running_loop().far = far
    async with rig(place, embedded, before, Still(), "eu") as made:

        async def slowly(*given: Any) -> Any:
            one = await asked(*given)
            made.reload(after)
            return one

        patch.setattr("gateway.edge.job_work.asked", slowly)
        await made.call(JOB, lambda _: None)
        await made.idle()
        return far.reached


@pytest.mark.parametrize("who", ["tenant", "nobody"])
def test_a_policy_that_comes_while_it_is_built_again_holds(
    who: str, tmp_path: Path, own_server: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = as_policy(replace(WORLD, rules=(Rule("all", {}, ("cloud", "gpu"), (), (), ()),)), Random(1), "w")
    demand = Demand(zones=frozenset({"eu"}))
    tenants = {name: replace(one, residency=demand) for name, one in before.tenants.items()}
    after = replace(before, version="after", tenants=tenants if who == "tenant" else before.tenants)
    with looking_soon(), asyncio.Runner(loop_factory=Loop) as runner:
        reached = runner.run(tightened(tmp_path, own_server, before, after, monkeypatch))
    assert reached == [HOME if who == "tenant" else ABROAD]
