"""The fast worker of the model against the step-by-step engine of the simulated fleet."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.model import Speed
from loadtests.model.worker import IDLE, Hardware, Job, Worker
from loadtests.simfleet import engine
from loadtests.simfleet.config import WorkerConfig

SPEED = Speed(8.0, 0.06, 0.04)
Asked = tuple[float, int, int]
"""Arrival in seconds, prompt tokens, output tokens."""
Told = tuple[float, float]
"""When the first and the last token came."""


def fast(hardware: Hardware, asked: Sequence[Asked]) -> tuple[list[Told], int]:
    worker, jobs = Worker(hardware), [Job(prompt, output, at) for at, prompt, output in asked]
    left = deque(jobs)
    while left or worker.next < IDLE:
        if left and left[0].arrived < worker.next:
            job = left.popleft()
            worker.add(job, job.arrived)
        else:
            worker.turn()
    assert worker.used == 0
    return [(job.first or -1, job.done or -1) for job in jobs], worker.preemptions


def stepwise(hardware: Hardware, asked: Sequence[Asked]) -> tuple[list[Told], int]:
    config = WorkerConfig(
        name="w",
        max_num_seqs=hardware.seats,
        step_ms=hardware.speed.step_ms,
        per_seq_ms=hardware.speed.per_seq_ms,
        per_prompt_token_ms=hardware.speed.per_prompt_token_ms,
        prefill_chunk=hardware.chunk,
        block_tokens=1,
        num_gpu_blocks=hardware.kv_tokens,
    )
    worker, jobs = engine.Engine(config), [engine.Sequence(prompt, output, at) for at, prompt, output in asked]
    left, now = deque(jobs), 0.0
    while True:
        while left and left[0].arrival < now:
            worker.add(left.popleft())
        step = worker.begin(now)
        if step is not None:
            worker.complete(step)
            now = step.end
        elif left:
            now = left[0].arrival
            worker.add(left.popleft())
        else:
            return [(job.first_token_at or -1, job.last_token_at or -1) for job in jobs], worker.preemptions


def agree(hardware: Hardware, asked: Sequence[Asked]) -> int:
    ours, preempted = fast(hardware, asked)
    theirs, theirs_preempted = stepwise(hardware, asked)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == pytest.approx(other, abs=1e-6)
    assert preempted == theirs_preempted
    return preempted


arrivals = st.lists(
    st.tuples(st.floats(0.0001, 0.5), st.integers(1, 900), st.integers(1, 40)), min_size=1, max_size=25
).map(lambda rows: [(sum(gap for gap, _, _ in rows[: i + 1]) / 3, p, o) for i, (_, p, o) in enumerate(rows)])


@settings(max_examples=60, deadline=None)
@given(arrivals, st.sampled_from([2, 4, 128]), st.sampled_from([64, 300, 2048]))
def test_equal_steps_at_once_are_the_same_steps(asked: list[Asked], seats: int, chunk: int) -> None:
    agree(Hardware(SPEED, seats, max(chunk, 2 * seats)), asked)


@settings(max_examples=60, deadline=None)
@given(arrivals)
def test_memory_that_runs_out_preempts_the_same_sequences(asked: list[Asked]) -> None:
    agree(Hardware(SPEED, 32, 512, kv_tokens=1_000), asked)


def test_some_of_that_really_is_preempted() -> None:
    asked = [(0.001 * i, 100, 30) for i in range(1, 12)]
    assert agree(Hardware(SPEED, 32, 512, kv_tokens=1_000), asked) > 0


def test_one_request_alone_takes_what_the_formula_says() -> None:
    [(first, done)], _ = fast(Hardware(SPEED), [(1.0, 1000, 11)])
    assert first == pytest.approx(1.0 + 0.008 + 1000 * 0.04e-3)
    assert done == pytest.approx(first + 10 * (0.008 + 0.06e-3))
