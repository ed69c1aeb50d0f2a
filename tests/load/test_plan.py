"""What will be sent: lengths, phases, arrivals, bodies."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.edge.body import decode
from gateway.model import Price
from gateway.policy.live import LivePolicy
from loadtests.lengths import Lengths, builtin
from loadtests.load.asks import BLOCK_TOKENS, BYTES_PER_TOKEN, body
from loadtests.load.phases import phase_at
from loadtests.load.plan import STAYS, Job, Kind, Mix, build, load, save, scaled
from loadtests.load.prepare import prepare
from loadtests.load.scenario import Clients, find
from loadtests.load.scenario import Lengths as Bounds
from loadtests.load.target import TargetFault, facts
from loadtests.stack import DEMO_POLICIES
from loadtests.traces import TraceFault

from .stories import MODEL, RAMP, SECONDS

BOUNDS, CHAT = Bounds(), Kind("chat", MODEL)
DEMO = LivePolicy(DEMO_POLICIES).current
TRACE_PROMPT, TRACE_OUTPUT = 1154.7, 211.1
"""Means of the Azure 2023 conversation trace."""


def test_builtin_lengths_have_the_trace_s_shape() -> None:
    rng = Random(5)
    drawn = [builtin(rng) for _ in range(60_000)]
    assert fmean(d.prompt for d in drawn) == pytest.approx(TRACE_PROMPT, rel=0.03)
    assert fmean(d.output for d in drawn) == pytest.approx(TRACE_OUTPUT, rel=0.03)
    outputs = sorted(d.output for d in drawn)
    assert outputs[len(drawn) // 2] == pytest.approx(129, rel=0.10)
    assert outputs[len(drawn) * 95 // 100] == pytest.approx(451, rel=0.10)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_scaled_lengths_fit_the_demo_s_workers(prompt: int, output: int) -> None:
    found = scaled(Lengths(prompt, output), BOUNDS)
    assert 1 <= found.prompt <= BOUNDS.longest_prompt
    assert 1 <= found.output <= BOUNDS.longest_output
    assert found.prompt + found.output <= 8192


def test_phases_join_without_a_gap_or_a_jump() -> None:
    phases = RAMP.plan.phases
    assert [phase.name for phase in phases] == ["warm", "ramp up", "peak", "ramp down", "calm"]
    assert (phases[0].start, phases[-1].end) == (0, SECONDS)
    for one, following in pairwise(phases):
        assert one.end == following.start
        assert one.load(one.end) == pytest.approx(following.load(following.start))
    assert phases[0].load(0) == 0.4
    assert phase_at(phases, (phases[2].start + phases[2].end) / 2).load(60) == 2.0
    assert phase_at(phases, 1e9) is phases[-1]


def test_a_plan_is_repeatable_and_survives_its_file(tmp_path: Path) -> None:
    plan = prepare("ramp", seed=7, seconds=400).plan
    save(plan, tmp_path / "plan")
    assert load(tmp_path / "plan") == plan == prepare("ramp", seed=7, seconds=400).plan
    assert prepare("ramp", seed=8, seconds=400).plan != plan
    jobs = plan.jobs
    assert fmean(job.flagged for job in jobs) == pytest.approx(0.10, abs=0.02)
    assert fmean(not job.stream for job in jobs) == pytest.approx(0.05, abs=0.02)


def test_kinds_come_by_their_weights() -> None:
    plan = prepare("mixed", seed=1, seconds=2000).plan
    counts = Counter(plan.kinds[job.kind].kind for job in plan.jobs)
    for kind, weight in {"chat": 90, "image": 4, "speech": 5, "video": 1}.items():
        assert counts[kind] / len(plan.jobs) == pytest.approx(weight / 100, rel=0.15), kind


def test_a_storm_is_in_its_phase_only_and_changes_nothing_else() -> None:
    name, scenario = find("disconnect-storm")
    calm = build(name, scenario.model_copy(update={"clients": Clients()}), builtin, seed=1, base=10.0)
    plan = build(name, scenario, builtin, seed=1, base=10.0)
    assert [replace(job, leaves=STAYS) for job in plan.jobs] == list(calm.jobs)
    storm = plan.phases[1]
    leaving = [job for job in plan.jobs if job.leaves >= 0]
    assert all(storm.start <= job.due < storm.end and job.leaves < 2.0 for job in leaving)
    inside = [job for job in plan.jobs if storm.start <= job.due < storm.end]
    assert len(leaving) / len(inside) == pytest.approx(0.8, abs=0.05)


def test_slow_readers_are_their_share() -> None:
    jobs = prepare("slow-readers", seed=1, seconds=400).plan.jobs
    assert fmean(job.pace == 1000 for job in jobs) == pytest.approx(0.33, abs=0.03)


def test_levels_may_be_requests_per_second(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    steps = "load: {steps: [{name: a, share: 1, level: 7}]}"
    file.write_text(f"about: x\nseconds: 300\nunit: per_second\n{steps}\n")
    assert len(prepare(str(file), seed=1).plan.jobs) / 300 == pytest.approx(7, rel=0.1)


def test_the_capacity_is_that_of_full_batches() -> None:
    known = facts(DEMO, MODEL)
    # 16 sequences, 42 + 16 x 0.5 ms a step, one prompt of 1,000 tokens (40 ms) for every 100 / 16 steps: 56.4 ms
    assert known.capacity(Lengths(1000, 100)) == pytest.approx(4 * 16 / 100 / 0.0564)
    assert known.price == Price.of(0.25, 0.75)


def test_the_limit_on_work_bounds_the_capacity_before_the_seats_do() -> None:
    known = facts(DEMO, MODEL)
    worker = known.workers[0]
    work = 46_200 + 5750 * 400  # GPU-us of 1,155 prompt and 400 output tokens at half a batch
    n = worker.limit / work
    step = 42 + 0.5 * n + 0.04 * 1155 * n / 400
    assert n < worker.seats
    assert known.capacity(Lengths(1155, 400)) == pytest.approx(4 * n / 400 / step * 1000)


def test_what_cannot_be_loaded_is_refused() -> None:
    with pytest.raises(TargetFault, match="no model `nope`"):
        prepare("ramp", seed=1, model="nope")
    with pytest.raises(TargetFault, match="nothing can spill"):
        prepare("ramp", seed=1, model="DeepSeek-V3")
    with pytest.raises(TraceFault, match="set TRACE=path"):
        prepare("replay", seed=1)


def test_the_spread_shrinks_with_the_root_of_the_load() -> None:
    mix = Mix.of(builtin, BOUNDS, 1)
    assert mix.mean.output == pytest.approx(TRACE_OUTPUT * BOUNDS.output_scale, rel=0.06)
    assert mix.spread(10) == pytest.approx(2 * mix.spread(40))


@given(st.integers(1, BOUNDS.longest_prompt), st.integers(0, 10**6), st.booleans())
def test_chats_are_valid_and_weigh_what_they_should(prompt: int, number: int, stream: bool) -> None:
    raw = body(CHAT, Job(1.0, prompt, 33, stream, False), number)
    asked = json.loads(raw)
    assert (asked["model"], asked["max_tokens"], asked["ignore_eos"], asked["stream"]) == (MODEL, 33, True, stream)
    seen = decode(raw)
    assert seen.prompt_bytes / BYTES_PER_TOKEN == pytest.approx(max(prompt, 8), abs=1)


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=6, unique=True), st.integers(0, 511))
def test_prompts_share_text_as_far_as_a_trace_s_blocks_are_equal(blocks: list[int], rest: int) -> None:
    def text(ids: tuple[int, ...]) -> str:
        job = Job(1.0, 512 * len(ids) + rest, 5, True, False, blocks=ids)
        return str(json.loads(body(CHAT, job, 1))["messages"][0]["content"])

    one, other = text(tuple(blocks)), text((*blocks[:-1], blocks[-1] + 1))
    shared = int(BLOCK_TOKENS * BYTES_PER_TOKEN) * (len(blocks) - 1)
    assert len(one) == len(other)
    assert one[:shared] == other[:shared]
    assert one != other
    assert len(one) / BYTES_PER_TOKEN == pytest.approx(512 * len(blocks) + rest, abs=9)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (Kind("image", "picture", "512x512"), {"model": "picture", "size": "512x512"}),
        (Kind("speech", "voice"), {"model": "voice", "voice": "alloy"}),
        (Kind("video", "film", "1280x720", 4), {"model": "film", "size": "1280x720", "seconds": "4"}),
    ],
)
def test_bodies_of_media(kind: Kind, says: dict[str, str]) -> None:
    asked = json.loads(body(kind, Job(1.0, 40, 0, False, False), 3))
    assert says.items() <= asked.items()
    assert len(asked.get("input", "x" * 40)) == 40
