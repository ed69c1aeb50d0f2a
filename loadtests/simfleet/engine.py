"""A continuous-batching engine, pure: no clock, no I/O. The caller says what time it is.

One step works like vLLM's V1 scheduler: running sequences first, in order of arrival, then waiting ones while there is
a seat (max_num_seqs), token budget (chunked prefill) and KV blocks. A running sequence that finds no block preempts
the youngest one, which starts over (recompute). A step lasts::

    slow * (step_ms + per_seq_ms * decoding sequences + per_prompt_token_ms * prefill tokens)
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

from .config import WorkerConfig


class Phase(Enum):
    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    ABORTED = "aborted"


@dataclass(slots=True, eq=False)
class Sequence:
    """One answer being generated. Times are seconds on the caller's clock."""

    prompt_tokens: int
    output_tokens: int
    """How many tokens it will generate before it ends."""
    arrival: float
    phase: Phase = Phase.WAITING
    computed: int = 0
    """Tokens whose KV entries exist."""
    generated: int = 0
    blocks: int = 0
    preemptions: int = 0
    scheduled_at: float | None = None
    first_token_at: float | None = None
    last_token_at: float | None = None
    token_gap: float | None = None
    """Time between the two newest tokens; None before the second."""

    @property
    def uncomputed(self) -> int:
        return self.prompt_tokens + self.generated - self.computed

    @property
    def decoding(self) -> bool:
        """Everything but its newest token is in the KV cache."""
        return self.generated > 0 and self.uncomputed == 1


@dataclass(slots=True, frozen=True)
class Step:
    """One engine step: which sequences compute how many tokens, and how long it takes (seconds)."""

    start: float
    duration: float
    work: list[tuple[Sequence, int]]
    decoding: int
    prefill_tokens: int

    @property
    def end(self) -> float:
        return self.start + self.duration


@dataclass(slots=True)
class Engine:
    config: WorkerConfig
    slow: float = 1.0
    """Factor on the length of a step (fault injection)."""
    running: list[Sequence] = field(default_factory=list)
    waiting: deque[Sequence] = field(default_factory=deque)
    preemptions: int = 0
    used_blocks: int = 0

    @property
    def kv_usage(self) -> float:
        return self.used_blocks / self.config.num_gpu_blocks

    def add(self, sequence: Sequence) -> None:
        self.waiting.append(sequence)

    def abort(self, sequence: Sequence) -> None:
        """Drop a sequence wherever it is; its seat and blocks are free at once. Ended ones stay as they are."""
        if sequence.phase is Phase.WAITING:
            self.waiting.remove(sequence)
        elif sequence.phase is Phase.RUNNING:
            self.running.remove(sequence)
        else:
            return
        self._free(sequence)
        sequence.phase = Phase.ABORTED

    def begin(self, now: float) -> Step | None:
        """Schedule one step starting at `now`; None when there is nothing to do."""
        work: list[tuple[Sequence, int]] = []
        preempted_before = self.preemptions
        budget = self._schedule_running(work, self.config.prefill_chunk)
        if self.preemptions == preempted_before:
            self._schedule_waiting(work, budget, now)
        if not work:
            return None
        decoding = sum(1 for sequence, _ in work if sequence.decoding)
        prefill = sum(count for sequence, count in work if not sequence.decoding)
        config = self.config
        length_ms = config.step_ms + config.per_seq_ms * decoding + config.per_prompt_token_ms * prefill
        return Step(now, self.slow * length_ms / 1000, work, decoding, prefill)

    def complete(self, step: Step) -> list[Sequence]:
        """End a step: the sequences that gained a token, finished ones with their seat already free."""
        gained: list[Sequence] = []
        for sequence, count in step.work:
            if sequence.phase is not Phase.RUNNING:  # aborted while the step ran
                continue
            sequence.computed += count
            if sequence.uncomputed == 0:
                self._append_token(sequence, step.end)
                gained.append(sequence)
        if any(sequence.phase is Phase.FINISHED for sequence in gained):
            self.running = [sequence for sequence in self.running if sequence.phase is Phase.RUNNING]
        return gained

    def _append_token(self, sequence: Sequence, now: float) -> None:
        sequence.generated += 1
        if sequence.last_token_at is None:
            sequence.first_token_at = now
        else:
            sequence.token_gap = now - sequence.last_token_at
        sequence.last_token_at = now
        if sequence.generated >= sequence.output_tokens:
            self._free(sequence)
            sequence.phase = Phase.FINISHED

    def _schedule_running(self, work: list[tuple[Sequence, int]], budget: int) -> int:
        """Give each running sequence its tokens; returns the budget that is left."""
        place = 0
        while place < len(self.running) and budget > 0:
            sequence = self.running[place]
            count = min(sequence.uncomputed, budget)
            while not self._grow(sequence, count):
                if self._preempt_youngest() is sequence:
                    return budget
            work.append((sequence, count))
            budget -= count
            place += 1
        return budget

    def _schedule_waiting(self, work: list[tuple[Sequence, int]], budget: int, now: float) -> None:
        while self.waiting and budget > 0 and len(self.running) < self.config.max_num_seqs:
            sequence = self.waiting[0]
            count = min(sequence.uncomputed, budget)
            if not self._grow(sequence, count):
                return
            self.running.append(self.waiting.popleft())
            sequence.phase = Phase.RUNNING
            if sequence.scheduled_at is None:
                sequence.scheduled_at = now
            work.append((sequence, count))
            budget -= count

    def _preempt_youngest(self) -> Sequence:
        victim = self.running.pop()
        self._free(victim)
        victim.computed = 0
        victim.preemptions += 1
        victim.phase = Phase.WAITING
        self.waiting.appendleft(victim)
        self.preemptions += 1
        return victim

    def _grow(self, sequence: Sequence, count: int) -> bool:
        """Take the blocks that `count` more tokens need; False, and nothing taken, when they are not there."""
        blocks = -(-(sequence.computed + count) // self.config.block_tokens)
        more = blocks - sequence.blocks
        if self.used_blocks + more > self.config.num_gpu_blocks:
            return False
        self.used_blocks += more
        sequence.blocks = blocks
        return True

    def _free(self, sequence: Sequence) -> None:
        self.used_blocks -= sequence.blocks
        sequence.blocks = 0
