"""What a run promises: `slo.yaml` as limits, and what came of each. Pure but for reading the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from pydantic import Field

from gateway.policy.strict import Strict
from loadtests.load.measures import MEASURES
from loadtests.load.phases import Phase
from loadtests.load.plan import Result
from loadtests.load.scenario import strictly
from loadtests.stack import ROOT

FILE = ROOT / "loadtests" / "slo.yaml"
WHOLE = "whole run"
Most = Annotated[float, Field(ge=0)]
ShareMost = Annotated[float, Field(ge=0, le=1)]


class Limits(Strict):
    """Each is the most that is allowed, but for `spilled_share_least`; null takes an inherited one away."""

    ttft_p50_s: Most | None = None
    ttft_p95_s: Most | None = None
    ttft_p99_s: Most | None = None
    """Of streamed chat answers, from when the request was due."""
    tpot_p95_ms: Most | None = None
    """Time for each token after the first."""
    answer_p95_s: Most | None = None
    """Until the whole answer was there, of every kind: from when the request was due."""
    failed_share: ShareMost | None = None
    """Of all requests: refused for another reason than load, broken off, unanswered."""
    shed_share: ShareMost | None = None
    """Of all requests: 429."""
    spilled_share: ShareMost | None = None
    """Of the answers: bought."""
    spilled_share_least: ShareMost | None = None
    """A load test whose load never left the fleet did not test the spill."""
    leases_left: Most | None = None
    """Leases on our workers when the run is over. In the whole run only."""


class Promises(Limits):
    """Of one scenario, over the default."""

    phases: dict[str, Limits] = Field(default_factory=dict)
    """More of them, for the requests that were due in one phase."""


class Slo(Strict):
    default: Limits
    scenarios: dict[str, Promises] = Field(default_factory=dict)


class Promise(msgspec.Struct, frozen=True):
    """One limit and what came of it. `found` is None where nothing was measured: then it holds."""

    where: str
    measure: str
    limit: float
    found: float | None

    @property
    def least(self) -> bool:
        return self.measure.endswith("_least")

    @property
    def holds(self) -> bool:
        if self.found is None:
            return not self.least
        return self.found >= self.limit if self.least else self.found <= self.limit

    @property
    def sentence(self) -> str:
        """`ttft_p95_s 2.31 in peak, at most 2`."""
        found = "unknown" if self.found is None else f"{self.found:.3g}"
        return f"{self.measure} {found} in {self.where}, at {'least' if self.least else 'most'} {self.limit:g}"


def read(path: Path = FILE) -> Slo:
    """Raises ScenarioFault."""
    return strictly(Slo, path)


def limits(slo: Slo, scenario: str) -> tuple[Mapping[str, float], Mapping[str, Mapping[str, float]]]:
    """Of the whole run and of phases: measure -> limit, the default and the scenario's own together."""
    own = slo.scenarios.get(scenario, Promises())
    given = {name: getattr(own, name) for name in own.model_fields_set if name != "phases"}
    whole = _set({**slo.default.model_dump(), **given})
    return whole, {name: _set(phase.model_dump()) for name, phase in own.phases.items()}


def _set(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def judged(
    slo: Slo, scenario: str, phases: Sequence[Phase], results: Sequence[Result], planned: int, leases: float | None
) -> tuple[Promise, ...]:
    """Every promise of a scenario. `planned` requests were due, and those without a result have failed; `leases`
    were held at the end."""
    whole, by_phase = limits(slo, scenario)
    return tuple(_judged(whole, by_phase, phases, results, planned, leases))


def _judged(
    whole: Mapping[str, float],
    by_phase: Mapping[str, Mapping[str, float]],
    phases: Sequence[Phase],
    results: Sequence[Result],
    planned: int,
    leases: float | None,
) -> Iterator[Promise]:
    lost = planned - len(results)
    for name, limit in whole.items():
        yield Promise(WHOLE, name, limit, leases if name == "leases_left" else MEASURES[name](results, lost))
    for phase in phases:
        mine = [r for r in results if phase.start <= r.due < phase.end]
        for name, limit in by_phase.get(phase.name, {}).items():
            yield Promise(phase.name, name, limit, MEASURES[name](mine, 0))
