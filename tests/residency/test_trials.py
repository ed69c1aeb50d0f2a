"""A trial on a share of the sessions: its caller chooses the session, and never the looser of two policies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.model import Demand, Policy
from gateway.policy.candidate import Candidate, Trial
from gateway.store.embedded import Embedded
from loadtests.residency.memory import Loop, running_loop
from loadtests.residency.oracle import Rule
from loadtests.residency.rig import rig
from loadtests.residency.worlds import as_policy

from .test_conditions import ABROAD, HOME, SENT, WORLD, Far, Still

OPEN = as_policy(replace(WORLD, rules=(Rule("all", {}, ("cloud", "gpu"), (), (), ()),)), Random(1), "w")
EU, US = Demand(zones=frozenset({"eu"})), Demand(zones=frozenset({"us"}))


def demanding(policy: Policy, version: str, demands: Mapping[str, Demand]) -> Policy:
    """`demands`: of `tenant`, `model`, `rule`."""
    none = Demand()

    def of(many: Mapping[str, Any], who: str) -> dict[str, Any]:
        return {name: replace(one, residency=demands.get(who, none)) for name, one in many.items()}

    tenants = of(policy.tenants, "tenant")
    return replace(
        policy,
        version=version,
        tenants=tenants,
        keys={key: tenants[one.name] for key, one in policy.keys.items()},
        models=of(policy.models, "model"),
        rules=tuple(replace(rule, residency=demands.get("rule", none)) for rule in policy.rules),
    )


async def tried(place: Path, embedded: Embedded, current: Policy, other: Policy) -> tuple[list[str], list[int]]:
    far = running_loop().far = Far("answer")
    async with rig(place, embedded, current, Still()) as made:
        made.live.candidate = Candidate(Trial(other.version, "share", 1.0), other)
        await made.call(SENT, lambda _: None)
        return far.reached, list(made.statuses)


@pytest.mark.parametrize("looser", [True, False], ids=["the trial demands nothing", "nor does the policy in force"])
@pytest.mark.parametrize("who", ["tenant", "model", "rule"])
def test_the_strictest_of_both_holds(who: str, looser: bool, tmp_path: Path, own_server: Embedded) -> None:
    current = demanding(OPEN, "current", {who: EU} if looser else {})
    other = demanding(OPEN, "other", {} if looser else {who: EU})
    with asyncio.Runner(loop_factory=Loop) as runner:
        reached, _ = runner.run(tried(tmp_path, own_server, current, other))
    assert reached == [HOME]
    lines = [json.loads(line) for path in tmp_path.glob("chain-*") for line in path.read_text().splitlines()]
    told = [(line["demand"], line["by"], line["policy"]) for line in lines]
    assert told == [(["eu"], ["policy_in_force"] if looser else [who], "other")]


def test_two_demands_that_nobody_keeps_are_a_refusal(tmp_path: Path, own_server: Embedded) -> None:
    current, other = demanding(OPEN, "current", {"tenant": EU}), demanding(OPEN, "other", {"rule": US})
    with asyncio.Runner(loop_factory=Loop) as runner:
        assert runner.run(tried(tmp_path, own_server, current, other)) == ([], [403])


def test_without_any_demand_the_trial_decides_alone(tmp_path: Path, own_server: Embedded) -> None:
    with asyncio.Runner(loop_factory=Loop) as runner:
        reached, _ = runner.run(tried(tmp_path, own_server, OPEN, demanding(OPEN, "other", {})))
    assert reached == [ABROAD]
