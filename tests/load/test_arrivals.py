"""When requests are due: rates, burstiness, and the times of a trace."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.lengths import Lengths, from_trace
from loadtests.load.arrivals import arrivals
from loadtests.load.phases import Phase, joined, phase_at
from loadtests.load.plan import replayed
from loadtests.load.scenario import Replay, Scenario
from loadtests.traces import Row, TraceFault, read

LEVELS = st.floats(0.0, 3.0)
RAMP = (("warm", 25.0, 0.4, 0.4), ("up", 25.0, 0.4, 2.0), ("peak", 40.0, 2.0, 2.0), ("down", 20.0, 2.0, 0.0))


@pytest.mark.parametrize("burstiness", [0.25, 1.0, 4.0])
def test_arrivals_follow_the_phases_whatever_the_burstiness(burstiness: float) -> None:
    phases, base = joined(RAMP, 2000), 50.0
    times = list(arrivals(phases, base, burstiness, Random(3)))
    assert times == sorted(times)
    for phase in phases:
        got = sum(phase.start <= t < phase.end for t in times)
        assert got == pytest.approx(base * phase.area, rel=0.05), phase.name


@pytest.mark.parametrize("burstiness", [0.25, 1.0, 4.0])
def test_gaps_vary_as_the_gamma_distribution_says(burstiness: float) -> None:
    times = list(arrivals((Phase("a", 0, 2000, 1, 1),), 20.0, burstiness, Random(5)))
    gaps = [b - a for a, b in pairwise(times)]
    assert fmean(gaps) == pytest.approx(1 / 20, rel=0.03)
    assert stdev(gaps) / fmean(gaps) == pytest.approx(burstiness**-0.5, rel=0.05)


@given(
    st.lists(st.tuples(st.floats(0.5, 20), LEVELS, LEVELS), min_size=1, max_size=6), st.floats(0.1, 10), st.integers()
)
def test_arrivals_stay_in_order_and_in_phases_with_a_load(
    parts: list[tuple[float, float, float]], burstiness: float, seed: int
) -> None:
    phases = joined([(str(i), *part) for i, part in enumerate(parts)], 60.0)
    times = list(arrivals(phases, 5.0, burstiness, Random(seed)))
    assert times == sorted(times)
    assert all(0 <= t <= phases[-1].end for t in times)
    assert all(phase_at(phases, t - 1e-6).area > 0 or phase_at(phases, t + 1e-6).area > 0 for t in times)


def test_one_seed_gives_the_same_arrivals_and_another_gives_others() -> None:
    def drawn(seed: int) -> list[float]:
        return list(arrivals(joined(RAMP, 60), 5.0, 0.5, Random(seed)))

    assert drawn(1) == drawn(1) != drawn(2)


ROWS = st.lists(
    st.builds(Row, st.floats(0, 500), st.builds(Lengths, st.integers(1, 7000), st.integers(1, 600))),
    min_size=1,
    max_size=60,
).map(lambda rows: sorted(rows, key=lambda row: row.at))
TEXT = {"about": "x", "seconds": 100.0, "load": {"replay": {}}}
TEXT |= {"lengths": {"output_scale": 1.0, "longest_output": 8000, "longest_prompt": 8000}}
SCENARIO = Scenario.model_validate_json(json.dumps(TEXT))


@given(ROWS, st.floats(0.1, 50), st.floats(0, 100))
def test_a_replay_keeps_order_lengths_and_scaled_times(rows: list[Row], speed: float, skip: float) -> None:
    plan = replayed("r", SCENARIO, Replay(speed=speed, skip=skip), rows, seed=1)
    kept = [row for row in rows if 0 <= (row.at - skip) / speed < 100.0]
    assert [(job.prompt, job.output) for job in plan.jobs] == [(row.lengths.prompt, row.lengths.output) for row in kept]
    assert [job.due for job in plan.jobs] == pytest.approx([(row.at - skip) / speed for row in kept])
    assert sum(phase.area for phase in plan.phases) == pytest.approx(len(plan.jobs))


AZURE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9305900,396,109"
)
BURST = "Timestamp,Model,Request tokens,Response tokens,Log Type\n9,GPT-4,3,4,API log\n5,GPT-4,12,34,API log\n"
MOONCAKE = '{"timestamp": 100, "input_length": 7, "output_length": 8, "hash_ids": [46, 2]}\n'


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (AZURE, [Row(0.0, Lengths(374, 44)), Row(4.25, Lengths(396, 109))]),
        ("\ufeff" + AZURE + "\n", [Row(0.0, Lengths(374, 44)), Row(4.25, Lengths(396, 109))]),
        (AZURE.replace("00,3", "00+02:00,3"), [Row(0.0, Lengths(374, 44)), Row(4.25, Lengths(396, 109))]),
        (BURST, [Row(0.0, Lengths(12, 34)), Row(4.0, Lengths(3, 4))]),
        (MOONCAKE + MOONCAKE.replace("100", "350"), [Row(t, Lengths(7, 8), (46, 2)) for t in (0.0, 0.25)]),
        ("Timestamp,Request tokens,Response tokens\n1,0,5\n2,3,0\n3,3,5\n", [Row(0.0, Lengths(3, 5))]),
    ],
    ids=["azure", "byte order mark", "zone", "burstgpt, unsorted", "mooncake", "empty requests are left out"],
)
def test_traces_are_read(tmp_path: Path, text: str, rows: list[Row]) -> None:
    trace = tmp_path / "trace"
    trace.write_text(text)
    assert read(trace) == rows
    assert from_trace([row.lengths for row in rows])(Random(1)) in [row.lengths for row in rows]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "Azure: `TIMESTAMP`, `ContextTokens`, `GeneratedTokens`; BurstGPT: "),
        ("Timestamp,Request tokens,Response tokens\n1,12,many\n", "whole numbers"),
        ("Timestamp,Request tokens,Response tokens\n1,12\n", "whole numbers"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,2\n", "a time"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n", "no requests"),
        ("", "no requests"),
        ('{"input_length": 7', "whole numbers"),
        (None, "No such file"),
    ],
)
def test_what_is_wrong_with_a_trace_is_said(tmp_path: Path, text: str | None, said: str) -> None:
    trace = tmp_path / "trace.csv"
    if text is not None:
        trace.write_text(text)
    with pytest.raises(TraceFault, match=said):
        read(trace)
