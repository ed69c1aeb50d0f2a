"""The queue of a media server: jobs that take their time, a few at once, the others in order of arrival."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

PERCENT_CAP = 99
"""What is not over is never at 100 %."""


@dataclass(slots=True, eq=False)
class Job:
    """One generation. Times are Unix seconds. Status: queued, in_progress, completed, failed, cancelled."""

    id: str
    kind: str
    """image, video or speech."""
    units: float
    """As in `costs.units`."""
    asked: dict[str, object]
    fails: bool = False
    status: str = "queued"
    created: float = field(default_factory=time.time)
    started: float | None = None
    ended: float | None = None
    takes_s: float = 0.0
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def progress(self) -> int:
        """Per cent."""
        if self.status == "completed":
            return 100
        if self.started is None:
            return 0
        return min(PERCENT_CAP, int(100 * ((self.ended or time.time()) - self.started) / max(self.takes_s, 1e-9)))


class JobQueue:
    """`seconds` says how long a job takes from now on; `ended` is told of each that completed or failed."""

    def __init__(self, at_once: int, seconds: Callable[[Job], float]) -> None:
        self.at_once = at_once
        self.running: list[Job] = []
        self.waiting: deque[Job] = deque()
        self.done: dict[str, int] = {"completed": 0, "failed": 0, "cancelled": 0}
        self._seconds = seconds
        self._timers: dict[Job, asyncio.TimerHandle] = {}

    def add(self, job: Job) -> None:
        self.waiting.append(job)
        self._fill()

    def cancel(self, job: Job) -> bool:
        """Stop a job wherever it is; False for one that is over."""
        if job.over.is_set():
            return False
        if job in self.waiting:
            self.waiting.remove(job)
        self._end(job, "cancelled")
        return True

    def stop(self) -> None:
        """The process ends: nothing more happens."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self.waiting.clear()
        self.running.clear()

    def _fill(self) -> None:
        while self.waiting and len(self.running) < self.at_once:
            job = self.waiting.popleft()
            job.status, job.started, job.takes_s = "in_progress", time.time(), self._seconds(job)
            self.running.append(job)
            loop = asyncio.get_running_loop()
            self._timers[job] = loop.call_later(job.takes_s, self._end, job, "failed" if job.fails else "completed")

    def _end(self, job: Job, status: str) -> None:
        timer = self._timers.pop(job, None)
        if timer is not None:
            timer.cancel()
            self.running.remove(job)
        job.status, job.ended = status, time.time()
        self.done[status] += 1
        job.over.set()
        self._fill()
