"""Scenarios and limits as files: all that are shipped are sound, and what is wrong with one is said with its place."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from loadtests.load import slo
from loadtests.load.phases import days, square
from loadtests.load.prepare import prepare
from loadtests.load.scenario import ScenarioFault, find, names, strictly
from loadtests.load.slo import Promise, Slo

ASKED = {"ramp", "spike", "diurnal", "square", "soak", "slow-readers", "disconnect-storm", "mixed", "replay", "gamma"}
SHIPPED = ASKED | {"waves"}
TRACE = "Timestamp,Model,Request tokens,Response tokens,Log Type\n" + "".join(
    f"{t},GPT-4,{10 + t},{20 + t},API log\n" for t in range(5, 60)
)
STEPS = "load:\n  steps:\n    - {name: a, share: 1, level: 1}\n"


def test_all_that_the_issue_names_are_there() -> None:
    assert set(names()) == SHIPPED


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_every_scenario_becomes_a_plan_and_keeps_to_known_phases(name: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text(TRACE)
    prepared = prepare(name, seed=1, trace=trace)
    plan = prepared.plan
    assert plan.jobs
    assert all(0 <= job.due < plan.seconds for job in plan.jobs)
    assert slo.limits(slo.read(), name)[1].keys() <= {phase.name for phase in plan.phases}
    assert len(prepared.scenario.about) > 20


def test_the_limits_name_scenarios_that_exist() -> None:
    assert slo.read().scenarios.keys() <= SHIPPED


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"about: x\nseconds: 10\n{STEPS}burstines: 2\n", r"mine.yaml:6:1: burstines: .*did you mean `burstiness`"),
        (f"about: x\nseconds: -1\n{STEPS}", r"mine.yaml:2:10: seconds: .*0"),
        (f"about: x\nseconds: soon\n{STEPS}", r"mine.yaml:2:10: seconds: .*number"),
        (STEPS, r"mine.yaml:1:1: about: "),
        (
            "about: x\nseconds: 9\nload:\n  square: {low: 1, high: 2}\n  day: {low: 1, high: 2}\n",
            r"load: .*exactly one",
        ),
        ("about: x\nseconds: 9\nload: {}\n", r"load: .*exactly one"),
        (f"about: x\nseconds: 9\n{STEPS}requests:\n  - {{kind: fax}}\n", r"mine.yaml:7:12: requests\[0\].kind: "),
        (
            f"about: x\nseconds: 9\n{STEPS}clients:\n  leave: {{share: 1, within: 1, phases: [b]}}\n",
            "names `b`; there are a",
        ),
        ("about: x\nseconds: 9\nburstiness: 2\nload:\n  replay: {}\n", "no effect on a replay"),
        ("about: [\n", "mine.yaml:2:1: .*YAML"),
    ],
    ids=["unknown key", "range", "type", "missing", "two loads", "no load", "kind", "phase", "replay", "syntax"],
)
def test_what_is_wrong_is_said_with_its_line_and_key(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ScenarioFault) as fault:
        find(str(file))
    assert re.search(said, str(fault.value)), fault.value


def test_a_name_that_is_not_there_is_said_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ScenarioFault, match=r"no scenario `spke`; there are disconnect-storm, .*spike"):
        find("spke")
    with pytest.raises(ScenarioFault, match="No such file"):
        find(str(tmp_path / "none.yaml"))


def test_a_day_ends_as_it_began_and_peaks_at_noon() -> None:
    phases = days(0.2, 1.6, 2, 480.0)
    assert len(phases) == 16
    assert (phases[0].low, phases[-1].high) == (pytest.approx(0.2), pytest.approx(0.2))
    assert max(phase.high for phase in phases) == phases[3].high == pytest.approx(1.6)
    assert phases[3].end == 120.0
    assert phases[3].name == "day 1, 09-12 h"
    assert all(a.high == b.low for a, b in itertools.pairwise(phases))


def test_a_square_wave_ends_low() -> None:
    assert [phase.name for phase in square(0.4, 2.0, 2, 50.0)] == ["low 1", "high 1", "low 2", "high 2", "low 3"]


SLO = """
default: {ttft_p95_s: 2, shed_share: 0}
scenarios:
  mine: {shed_share: null, failed_share: 0.1, phases: {peak: {spilled_share_least: 0.2}}}
"""


def test_a_scenario_s_limits_replace_the_default_s(tmp_path: Path) -> None:
    file = tmp_path / "slo.yaml"
    file.write_text(SLO)
    limits = strictly(Slo, file)
    assert slo.limits(limits, "other") == ({"ttft_p95_s": 2.0, "shed_share": 0.0}, {})
    assert slo.limits(limits, "mine") == (
        {"ttft_p95_s": 2.0, "failed_share": 0.1},
        {"peak": {"spilled_share_least": 0.2}},
    )
    file.write_text(SLO.replace("shed_share: 0", "shed_shar: 0"))
    with pytest.raises(ScenarioFault, match=r"slo.yaml:2:26: default.shed_shar: .*did you mean `shed_share`"):
        strictly(Slo, file)


@pytest.mark.parametrize(
    ("promise", "holds"),
    [
        (Promise("w", "shed_share", 0.0, 0.0), True),
        (Promise("w", "shed_share", 0.0, 0.01), False),
        (Promise("w", "spilled_share_least", 0.2, 0.2), True),
        (Promise("w", "spilled_share_least", 0.2, 0.1), False),
        (Promise("w", "spilled_share_least", 0.2, None), False),
        (Promise("w", "ttft_p95_s", 2.0, None), True),
    ],
)
def test_a_limit_is_the_most_or_the_least(promise: Promise, holds: bool) -> None:
    assert promise.holds is holds
