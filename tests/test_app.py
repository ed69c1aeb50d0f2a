from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from gateway import background
from gateway.app import damp
from gateway.background import keep_running
from gateway.model import Snapshot, Spill, Tenant, Threshold
from gateway.policy.candidate import Candidate, Trial
from gateway.policy.live import LivePolicy
from gateway.startup import keys_refused, zone_refused
from tests.worlds import policy, reading, rule, state


async def test_a_background_task_that_fails_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "RESTART_SECONDS", 0.0)
    runs: list[int] = []
    third = asyncio.Event()

    async def run() -> None:
        runs.append(len(runs))
        if len(runs) == 3:
            third.set()
            await asyncio.Event().wait()
        raise ValueError("unforeseen")

    task = asyncio.create_task(keep_running(run))
    async with asyncio.timeout(5):
        await third.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_which_keys_may_not_take_effect() -> None:
    keyed = replace(policy(), tenants={"t": Tenant("t")}, keys={"ab" * 32: Tenant("t")})
    assert keys_refused(policy(), "") is None
    assert keys_refused(keyed, "pepper") is None
    assert "GATEWAY_KEY_PEPPER" in (keys_refused(keyed, "") or "")
    assert "gone" in (keys_refused(policy(), "pepper", keyed) or "")
    assert keys_refused(keyed, "pepper", policy()) is None


def test_the_gateway_stands_in_a_zone_of_its_policy_or_in_none() -> None:
    assert zone_refused(policy(), None) is None
    assert zone_refused(policy(), "fra") is None
    said = zone_refused(policy(), "mars") or ""
    assert "GATEWAY_ZONE" in said
    assert "fra" in said, "it says what there is"


def test_the_thresholds_of_a_candidate_have_states_of_their_own() -> None:
    live = LivePolicy(Path(__file__).resolve().parents[1] / "policies" / "demo")
    mine, other = (
        policy(rules=(rule(spill=Spill(("api",), when=(Threshold("queue_depth", True, False, value),))),))
        for value in (10.0, 1000.0)
    )
    states = {name: state(one, reading=reading(waiting=20)) for name, one in mine.upstreams.items()}
    assert [one.on for one in damp(live, mine, Snapshot(100.0, states), {}).values()] == [True]
    live.candidate = Candidate(Trial("v2", "share", 0.1), other)
    both = damp(live, mine, Snapshot(100.0, states), {})
    assert {key.threshold.value: one.on for key, one in both.items()} == {10.0: True, 1000.0: False}
