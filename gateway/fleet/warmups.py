"""Since when each worker has been taking traffic, as far as this replica can tell: the ground of its slow start.

A worker is cold when its process began lately, when it lives a new life, or when it came back from being out. That a
gateway started lately makes nobody cold: what it finds up is judged by the start of the worker's own process.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.model import ASKED_TO_WAIT, RATE_LIMITED, UpstreamState

FIRST_SHARE = 0.1
"""Of its limit that a worker holds when it has just come."""
_BUSY = frozenset({ASKED_TO_WAIT, RATE_LIMITED})
"""Reasons to be out that leave a worker as warm as it was."""


def ramp(age: float, slow_start: float) -> float:
    """Share of its limit for a worker that has taken traffic for `age` seconds: from FIRST_SHARE, in a straight line,
    to 1 after `slow_start` seconds."""
    if age >= slow_start:
        return 1.0
    return FIRST_SHARE + (1 - FIRST_SHARE) * max(0.0, age) / slow_start


@dataclass(slots=True)
class _Seen:
    since: float | None
    """None: longer than anybody knows."""
    life: int
    out: bool
    told: bool = False
    """Its process's own start is known, or no longer matters: it was seen to come back."""


@dataclass(slots=True)
class Warmups:
    """Times are seconds of the store's clock."""

    _seen: dict[str, _Seen] = field(default_factory=dict)
    _begun: bool = False

    def begun(self) -> None:
        """The first snapshot stands: who is not in it came later than this gateway."""
        self._begun = True

    def ramp(self, state: UpstreamState, now: float) -> float:
        """The share of its limit for an upstream as it is now; to be told of every change, in order."""
        upstream = state.upstream
        if upstream.kind == "managed" or upstream.slow_start <= 0:
            return 1.0
        out = state.out is not None and state.out not in _BUSY
        seen = self._seen.get(upstream.name)
        if seen is None:
            seen = self._seen[upstream.name] = _Seen(now if self._begun else None, state.life, out)
        elif seen.life != state.life or (seen.out and not out):
            seen.since, seen.told = now, True
        seen.life, seen.out = state.life, out
        self._ask(seen, state, now)
        return 1.0 if seen.since is None else ramp(now - seen.since, upstream.slow_start)

    def _ask(self, seen: _Seen, state: UpstreamState, now: float) -> None:
        """The first reading that tells when its process began: of a worker that was met while it was up, that is since
        when it has been taking traffic. A start in the future, by a clock that is wrong, is now."""
        started = None if state.reading is None else state.reading.started
        if seen.told or started is None:
            return
        seen.told = True
        if not seen.out:
            seen.since = min(started, now)

    def keep(self, upstreams: frozenset[str]) -> None:
        """Forgets those that the policy no longer has: who comes back is met anew."""
        for name in self._seen.keys() - upstreams:
            del self._seen[name]
