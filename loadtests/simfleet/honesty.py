"""Is this simulator keeping its own time? A result measured against a late simulator is void."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

LATE_RATIO_LIMIT = 0.2
"""A step may end late by a fifth of its length at p99."""
CPU_SHARE_LIMIT = 0.85
"""Of one core, in any window of WINDOW_S: above it, timers slip before it shows."""
WINDOW_S = 5.0
MIN_STEPS = 100
"""Fewer steps have no p99."""

_RESOLUTION = 100  # ratio buckets of 0.01
_TOP = 2 * _RESOLUTION  # everything later than two steps is one bucket
_MAX_MISSED = 1000


@dataclass(slots=True)
class Lateness:
    """How late planned wake-ups were, each as a share of the step that it ended."""

    count: int = 0
    _buckets: list[int] = field(default_factory=lambda: [0] * (_TOP + 1))

    def record(self, late_s: float, step_s: float) -> None:
        """One wake-up. A wake-up several steps late hid steps that never ran on time: each of them counts."""
        late_s = max(0.0, late_s)
        for missed in range(min(_MAX_MISSED, 1 + int(late_s / step_s))):
            ratio = late_s / step_s - missed
            self._buckets[min(_TOP, math.ceil(ratio * _RESOLUTION))] += 1
            self.count += 1

    @property
    def p99(self) -> float:
        """Rounded up to 0.01; 0.0 while there are too few steps to tell."""
        if self.count < MIN_STEPS:
            return 0.0
        rank, seen = math.ceil(0.99 * self.count), 0
        for bucket, count in enumerate(self._buckets):
            seen += count
            if seen >= rank:
                return bucket / _RESOLUTION
        return _TOP / _RESOLUTION


@dataclass(slots=True)
class Honesty:
    """Lateness of engine steps and of managed frames, and the process's CPU share over 5-second windows."""

    engine: Lateness = field(default_factory=Lateness)
    managed: Lateness = field(default_factory=Lateness)
    cpu_share_max: float = 0.0
    _samples: deque[tuple[float, float]] = field(default_factory=deque)

    def cpu(self, now: float, cpu_s: float) -> None:
        """Record the process's CPU seconds so far; call about once a second."""
        self._samples.append((now, cpu_s))
        while len(self._samples) > 1 and self._samples[1][0] <= now - WINDOW_S:
            self._samples.popleft()
        since, used = self._samples[0]
        if now - since >= WINDOW_S:
            self.cpu_share_max = max(self.cpu_share_max, (cpu_s - used) / (now - since))

    def reset(self) -> None:
        """Start judging anew."""
        self.engine, self.managed = Lateness(), Lateness()
        self.cpu_share_max = 0.0
        self._samples.clear()

    def reasons(self) -> list[str]:
        """Why a result measured against this simulator is void; none: it is not."""
        reasons = [
            f"{what}: p99 lateness is {late.p99:.2f} of a step, limit {LATE_RATIO_LIMIT}"
            for what, late in (("engine", self.engine), ("managed", self.managed))
            if late.p99 > LATE_RATIO_LIMIT
        ]
        if self.cpu_share_max > CPU_SHARE_LIMIT:
            reasons.append(f"the simulator used {self.cpu_share_max:.2f} of a core, limit {CPU_SHARE_LIMIT}")
        return reasons

    def verdict(self) -> dict[str, object]:
        """The body of GET /sim/honesty."""
        reasons = self.reasons()
        return {
            "void": bool(reasons),
            "reasons": reasons,
            "steps": self.engine.count,
            "step_late_p99_ratio": self.engine.p99,
            "managed_late_p99_ratio": self.managed.p99,
            "cpu_share_max": round(self.cpu_share_max, 3),
        }
