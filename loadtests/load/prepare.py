"""A scenario's name and a policy folder become a plan: how much the fleet carries, what is sent, and when."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.errors import PolicyFault
from gateway.model import Price, Upstream
from gateway.policy.live import LivePolicy
from loadtests import lengths, traces
from loadtests.load.plan import Mix, Plan, build, replayed
from loadtests.load.scenario import Scenario, ScenarioFault, find
from loadtests.load.target import Facts, TargetFault, facts, served_here
from loadtests.stack import DEMO_POLICIES
from loadtests.traces import TraceFault

FAULTS = (ScenarioFault, TraceFault, TargetFault, PolicyFault)
"""What `prepare` raises."""
NEEDS_TRACE = "set TRACE=path to a file in the format of the Azure LLM inference traces, of BurstGPT or of Mooncake"


@dataclass(frozen=True, slots=True)
class Prepared:
    scenario: Scenario
    plan: Plan
    workers: tuple[Upstream, ...]
    """Local ones that serve anything of it."""
    price: Price
    """Of buying the chat model's answers."""
    mix: Mix
    capacity: float | None
    """Requests/s that the fleet carries with every seat busy, for the mean lengths; None where there is no chat."""
    base: float
    """Requests/s at level 1 of the plan's phases."""


def prepare(
    named: str,
    *,
    seed: int,
    trace: Path | None = None,
    seconds: float | None = None,
    policies: Path = DEMO_POLICIES,
    model: str | None = None,
) -> Prepared:
    """`seconds` and `model` (of chats) replace what the scenario says. Raises FAULTS."""
    if seconds is not None and seconds <= 0:
        raise ScenarioFault(f"a run of {seconds:g} seconds sends nothing; give more than 0")
    name, scenario = find(named)
    scenario = _changed(scenario, seconds, model)
    policy = LivePolicy(policies).current
    known = facts(policy, scenario.chat.model) if scenario.chat else Facts((), Price())
    rows = traces.read(trace) if trace else []
    replay = scenario.load.replay
    if replay is not None:
        if not rows:
            raise TraceFault(f"scenario `{name}` replays a trace: {NEEDS_TRACE}")
        plan = replayed(name, scenario, replay, rows, seed=seed)
        if not plan.jobs:
            raise TraceFault(f"{trace} has no request after its first {replay.skip:g} s")
        mix = Mix.of_jobs(plan.jobs)
    else:
        source = lengths.from_trace([row.lengths for row in rows]) if rows else lengths.builtin
        mix = Mix.of(source, scenario.lengths, seed)
    capacity = known.capacity(mix.mean) if known.workers else None
    base = 1.0
    if replay is None:
        base = _base(name, scenario, capacity)
        plan = build(name, scenario, source, seed=seed, base=base)
    workers = {(w.backend, w.name): w for asked in scenario.requests for w in served_here(policy, asked.model)}
    return Prepared(scenario, plan, tuple(workers.values()), known.price, mix, capacity, base)


def _changed(scenario: Scenario, seconds: float | None, model: str | None) -> Scenario:
    changes: dict[str, object] = {} if seconds is None else {"seconds": seconds}
    if model is not None:
        asked = [one.model_copy(update={"model": model}) if one.kind == "chat" else one for one in scenario.requests]
        changes["requests"] = tuple(asked)
    return scenario.model_copy(update=changes)


def _base(name: str, scenario: Scenario, capacity: float | None) -> float:
    if scenario.unit == "per_second":
        return 1.0
    if capacity is None:
        raise ScenarioFault(f"scenario `{name}` has no `kind: chat`, whose capacity its levels could be multiples of")
    return capacity
