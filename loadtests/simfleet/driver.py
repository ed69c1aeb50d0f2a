"""Runs an engine on the event loop: one timer per worker, planned on the engine's own clock so that a late wake-up
does not slow the fleet down, and reported to Honesty."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from .engine import Engine, Phase, Sequence, Step
from .honesty import Honesty
from .metrics import Lagged, Load, Stats

OnToken = Callable[[Sequence], None]


class Driver:
    """Steps one engine while it has work. `on_token` is called for each token at the end of its step."""

    def __init__(self, engine: Engine, stats: Stats, gauges: Lagged, honesty: Honesty, on_token: OnToken) -> None:
        self.engine = engine
        self.stats = stats
        self.gauges = gauges
        self.block_ms = 0.0
        self._honesty = honesty
        self._on_token = on_token
        self._step: Step | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False

    def submit(self, sequences: list[Sequence]) -> None:
        for sequence in sequences:
            self.engine.add(sequence)
        if self._step is None and not self._paused:
            self._begin(time.monotonic())

    def abort(self, sequence: Sequence) -> None:
        """Free the sequence's seat now; a sequence that has ended is left alone."""
        if sequence.phase in (Phase.WAITING, Phase.RUNNING):
            self.engine.abort(sequence)
            self.stats.ended(sequence, "abort")
            self._publish(time.monotonic())

    def pause(self) -> None:
        """Stand still (hang); the step in flight ends when `resume` is called."""
        self._paused = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def resume(self) -> None:
        if not self._paused:
            return
        self._paused = False
        now = time.monotonic()
        if self._step is None:
            self._begin(now)
        else:
            self._finish(self._step, now)

    def _begin(self, start: float) -> None:
        self._step = self.engine.begin(start)
        self._publish(start)
        if self._step is not None:
            delay = max(0.0, self._step.end - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._end)

    def _end(self) -> None:
        step, self._timer = self._step, None
        if step is None:
            return
        now = time.monotonic()
        late = now - step.end
        self._honesty.engine.record(late, step.duration)
        if self.block_ms:
            time.sleep(self.block_ms / 1000)
        # On time: the next step starts when this one should have ended. Far behind: time that is lost is lost.
        self._finish(step, step.end if late < step.duration else now)

    def _finish(self, step: Step, now: float) -> None:
        self.stats.step(step)
        for sequence in self.engine.complete(step):
            self.stats.token(sequence, step.end)
            self._on_token(sequence)
        self._step = None
        if not self._paused:
            self._begin(now)

    def _publish(self, now: float) -> None:
        engine = self.engine
        self.gauges.push(now, Load(len(engine.running), len(engine.waiting), engine.kv_usage))
