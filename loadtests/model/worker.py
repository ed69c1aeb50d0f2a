"""One worker of the model: the steps of `loadtests.simfleet.engine`, but a run of equal steps is one event.

While a worker only decodes, every step lasts the same until a sequence ends, one arrives, or memory runs out; those
steps are taken at once. A test holds this and the step-by-step engine equal.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

from gateway.model import Speed

IDLE = math.inf


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a worker is. A step takes `speed.step_ms + per_seq_ms * decoding + per_prompt_token_ms * prompt tokens`."""

    speed: Speed
    seats: int = 128
    chunk: int = 2048
    """Tokens that one step may compute."""
    kv_tokens: int = 450_000


@dataclass(slots=True, eq=False)
class Job:
    """One answer being generated; times are seconds of simulated time."""

    prompt: int
    output: int
    arrived: float
    computed: int = 0
    """Tokens whose KV entries exist, while it is not decoding."""
    generated: int = 0
    """Tokens written, while it is not decoding."""
    ends: int = -1
    """The worker's step that writes its last token, while it is decoding."""
    first: float | None = None
    done: float | None = None


@dataclass(slots=True)
class Worker:
    """`next` is when the present run of steps ends (IDLE: nothing to do); the caller then calls `turn`."""

    hardware: Hardware
    next: float = IDLE
    used: int = 0
    preemptions: int = 0
    waiting: deque[Job] = field(default_factory=deque)
    decoding: dict[Job, None] = field(default_factory=dict)
    """In order of admission: the last one is preempted first."""
    _partial: Job | None = None
    _prefills: list[tuple[Job, int]] = field(default_factory=list)
    _ends: list[tuple[int, int, Job]] = field(default_factory=list)
    _steps: int = 0
    _start: float = 0.0
    _gap: float = 0.0
    _run: int = 0
    _numbers: count[int] = field(default_factory=count)

    @property
    def running(self) -> int:
        return len(self.decoding) + (self._partial is not None)

    def add(self, job: Job, now: float) -> None:
        """A newcomer is seen by the first step that starts after `now`."""
        self.waiting.append(job)
        if self.next == IDLE:
            self._begin(now)
        elif self._run > 1:
            self._run = min(self._run, int((now - self._start) / self._gap) + 1)
            self.next = self._start + self._run * self._gap

    def turn(self) -> list[Job]:
        """Ends the run at `next` and begins another: the jobs that wrote their first or their last token in it."""
        now = self.next
        self._steps += self._run
        self.used += len(self.decoding) * (self._run - 1)
        told = self._finish(now)
        for job, tokens in self._prefills:
            job.computed += tokens
            if job.computed == job.prompt + job.generated:
                self._write(job, now)
                told.append(job)
        self._begin(now)
        return told

    def _finish(self, now: float) -> list[Job]:
        done: list[Job] = []
        while self._ends and self._ends[0][0] <= self._steps:
            step, _, job = heappop(self._ends)
            if step == job.ends:  # else it was preempted since
                job.done = now
                self.used -= job.prompt + job.output - 1
                del self.decoding[job]
                done.append(job)
        return done

    def _write(self, job: Job, now: float) -> None:
        """The token that the last piece of a prompt brings."""
        if job is self._partial:
            self._partial = None
        job.generated += 1
        if job.first is None:
            job.first = now
        if job.generated >= job.output:
            job.done = now
            self.used -= job.computed
            return
        job.ends = self._steps + job.output - job.generated
        self.decoding[job] = None
        heappush(self._ends, (job.ends, next(self._numbers), job))

    def _begin(self, now: float) -> None:
        preempted = self._make_room()
        self._prefills, decoders = [], len(self.decoding)
        self.used += decoders
        budget = self.hardware.chunk - decoders
        if self._partial is not None:
            budget -= self._prefill(self._partial, budget)
        if not preempted and self._partial_fits_budget():
            self._admit(budget)
        tokens = sum(tokens for _, tokens in self._prefills)
        if not decoders and not tokens:
            self.next = IDLE
            return
        speed = self.hardware.speed
        self._start = now
        self._gap = (speed.step_ms + speed.per_seq_ms * decoders + speed.per_prompt_token_ms * tokens) / 1000
        self._run = 1 if tokens or preempted else self._equal_steps(decoders)
        self.next = now + self._run * self._gap

    def _equal_steps(self, decoders: int) -> int:
        while self._ends[0][0] != self._ends[0][2].ends:
            heappop(self._ends)
        left = (self.hardware.kv_tokens - self.used) // decoders
        return max(1, min(self._ends[0][0] - self._steps, left + 1))

    def _partial_fits_budget(self) -> bool:
        """Whether the prompt in progress, if any, is computed to its end in the step being planned."""
        return self._partial is None or self._left(self._partial) == self._prefills[-1][1]

    def _left(self, job: Job) -> int:
        return job.prompt + job.generated - job.computed

    def _prefill(self, job: Job, budget: int) -> int:
        tokens = min(self._left(job), budget)
        self.used += tokens
        self._prefills.append((job, tokens))
        return tokens

    def _admit(self, budget: int) -> None:
        running = self.running
        while self.waiting and budget > 0 and running < self.hardware.seats:
            job = self.waiting[0]
            if self.used + min(self._left(job), budget) > self.hardware.kv_tokens:
                return
            self.waiting.popleft()
            running += 1
            budget -= self._prefill(job, budget)
            if self._prefills[-1][1] < self._left(job):
                self._partial = job

    def _make_room(self) -> bool:
        """Preempts the youngest until one more token of each sequence fits; whether it had to."""
        preempted = False
        while self.used + self._needed() > self.hardware.kv_tokens:
            preempted = True
            self.preemptions += 1
            if self._partial is not None:
                job, self._partial = self._partial, None
            else:
                job, _ = self.decoding.popitem()
                job.generated = job.output - (job.ends - self._steps)
                job.computed, job.ends = job.prompt + job.generated - 1, -1
            self.used -= job.computed
            job.computed = 0
            self.waiting.appendleft(job)
        return preempted

    def _needed(self) -> int:
        decoders = len(self.decoding)
        if self._partial is None:
            return decoders
        return decoders + min(self._left(self._partial), self.hardware.chunk - decoders)
