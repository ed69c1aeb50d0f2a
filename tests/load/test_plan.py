"""What will be sent: lengths, phases, arrivals, bodies."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.body import decode
from gateway.model import Price
from loadtests import lengths
from loadtests.load.feed import BYTES_PER_TOKEN, body
from loadtests.lengths import Lengths, TraceFault, builtin, from_trace, read_trace, scaled
from loadtests.load.phases import CALM, TWICE, arrivals, phase_at, timeline
from loadtests.load.plan import FLAGGED_SHARE, PLAIN_SHARE, Job, Mix, build, load, save
from loadtests.stack import DEMO_POLICIES
from loadtests.load.target import TargetFault, facts

from .stories import MODEL

TRACE_PROMPT, TRACE_OUTPUT = 1154.7, 211.1
"""Means of the Azure 2023 conversation trace."""
AZURE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109"
)


def test_builtin_lengths_have_the_trace_s_shape() -> None:
    rng = Random(5)
    drawn = [builtin(rng) for _ in range(60_000)]
    assert fmean(d.prompt for d in drawn) == pytest.approx(TRACE_PROMPT, rel=0.03)
    assert fmean(d.output for d in drawn) == pytest.approx(TRACE_OUTPUT, rel=0.03)
    outputs = sorted(d.output for d in drawn)
    assert outputs[len(drawn) // 2] == pytest.approx(129, rel=0.10)
    assert outputs[len(drawn) * 95 // 100] == pytest.approx(451, rel=0.10)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (AZURE, [Lengths(374, 44), Lengths(396, 109)]),
        ("\ufeff" + AZURE + "\n", [Lengths(374, 44), Lengths(396, 109)]),
        ("Timestamp,Model,Request tokens,Response tokens,Log Type\n5,GPT-4,12,34,API log\n", [Lengths(12, 34)]),
        ('{"timestamp": 0, "input_length": 7, "output_length": 8, "hash_ids": [0]}\n', [Lengths(7, 8)]),
        ("ContextTokens,GeneratedTokens\n0,5\n3,0\n3,5\n", [Lengths(3, 5)]),
    ],
    ids=["azure", "byte order mark", "burstgpt", "mooncake", "empty requests are left out"],
)
def test_traces_are_read(tmp_path: Path, text: str, rows: list[Lengths]) -> None:
    trace = tmp_path / "trace"
    trace.write_text(text)
    assert read_trace(trace) == rows
    assert from_trace(rows)(Random(1)) in rows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "needs the columns `ContextTokens` and `GeneratedTokens`"),
        ("ContextTokens,GeneratedTokens\n12,many\n", "whole numbers"),
        ("ContextTokens,GeneratedTokens\n12\n", "whole numbers"),
        ("ContextTokens,GeneratedTokens\n", "no requests"),
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
        read_trace(trace)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_scaled_lengths_fit_the_demo_s_workers(prompt: int, output: int) -> None:
    found = scaled(Lengths(prompt, output))
    assert 1 <= found.prompt <= lengths.LONGEST_PROMPT
    assert 1 <= found.output <= lengths.LONGEST_OUTPUT
    assert found.prompt + found.output <= 8192


def test_phases_join_without_a_gap_or_a_jump() -> None:
    phases = timeline(130)
    assert [phase.name for phase in phases] == ["warm", "ramp up", "peak", "ramp down", "calm"]
    assert (phases[0].start, phases[-1].end) == (0, 130)
    for one, following in pairwise(phases):
        assert one.end == following.start
        assert one.load(one.end) == pytest.approx(following.load(following.start))
    assert phases[0].load(0) == CALM
    assert phase_at(phases, (phases[2].start + phases[2].end) / 2).load(60) == TWICE
    assert phase_at(phases, 1e9) is phases[-1]


def test_arrivals_follow_the_phases() -> None:
    phases, capacity = timeline(1000), 50.0
    times = list(arrivals(phases, capacity, Random(3)))
    assert times == sorted(times)
    for phase in phases:
        expected = capacity * (phase.low + phase.high) / 2
        got = sum(phase.start <= t < phase.end for t in times) / (phase.end - phase.start)
        assert got == pytest.approx(expected, rel=0.05), phase.name


def test_a_plan_is_repeatable_and_survives_its_file(tmp_path: Path) -> None:
    plan = build(builtin, model=MODEL, seed=7, seconds=400, capacity=10)
    save(plan, tmp_path / "plan")
    assert load(tmp_path / "plan") == plan == build(builtin, model=MODEL, seed=7, seconds=400, capacity=10)
    assert build(builtin, model=MODEL, seed=8, seconds=400, capacity=10) != plan
    jobs = plan.jobs
    assert fmean(job.flagged for job in jobs) == pytest.approx(FLAGGED_SHARE, abs=0.02)
    assert fmean(not job.stream for job in jobs) == pytest.approx(PLAIN_SHARE, abs=0.02)


def test_the_capacity_is_that_of_full_batches() -> None:
    known = facts(DEMO_POLICIES, MODEL)
    # 16 sequences, 42 + 16 x 0.5 ms a step, one prompt of 1,000 tokens (40 ms) for every 100 / 16 steps: 56.4 ms
    assert known.capacity(Lengths(1000, 100)) == pytest.approx(4 * 16 / 100 / 0.0564)
    assert known.ttft == 2.0
    assert known.price == Price.of(0.25, 0.75)


def test_the_limit_on_work_bounds_the_capacity_before_the_seats_do() -> None:
    known = facts(DEMO_POLICIES, MODEL)
    worker = known.workers[0]
    work = 46_200 + 5750 * 400  # GPU-us of 1,155 prompt and 400 output tokens at half a batch
    n = worker.limit / work
    step = 42 + 0.5 * n + 0.04 * 1155 * n / 400
    assert n < worker.seats
    assert known.capacity(Lengths(1155, 400)) == pytest.approx(4 * n / 400 / step * 1000)


def test_a_model_that_cannot_spill_is_refused() -> None:
    with pytest.raises(TargetFault, match="no model `nope`"):
        facts(DEMO_POLICIES, "nope")


def test_the_spread_shrinks_with_the_root_of_the_load() -> None:
    mix = Mix.of(builtin, 1)
    assert mix.mean.output == pytest.approx(TRACE_OUTPUT * lengths.OUTPUT_SCALE, rel=0.06)
    assert mix.spread(10) == pytest.approx(2 * mix.spread(40))


@given(st.integers(1, lengths.LONGEST_PROMPT), st.integers(0, 10**6), st.booleans())
def test_bodies_are_valid_and_weigh_what_they_should(prompt: int, number: int, stream: bool) -> None:
    raw = body(MODEL, Job(1.0, prompt, 33, stream, False), number)
    asked = json.loads(raw)
    assert (asked["model"], asked["max_tokens"], asked["ignore_eos"], asked["stream"]) == (MODEL, 33, True, stream)
    seen = decode(raw)
    assert seen.prompt_bytes / BYTES_PER_TOKEN == pytest.approx(max(prompt, 8), abs=1)
