"""Which upstreams this replica leaves alone for a while, and why."""

from __future__ import annotations

from dataclasses import dataclass, field

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
FAILURES_TO_OPEN = 3
"""Failures in a row after a connection was made. A refused connection opens at once: nothing listens there."""
ACCOUNT_PAUSE_SECONDS = 60.0
"""After a refusal of our key or credit: only a human can mend that, so asking more often is noise."""


@dataclass(slots=True)
class Circuit:
    failures: int = 0
    pause: float = FIRST_PAUSE_SECONDS
    until: float = 0.0
    opened: float = 0.0
    reason: str = ""


@dataclass(slots=True)
class Circuits:
    """Per upstream: closed, or open until a time. After it one success closes, one failure doubles the pause."""

    _circuits: dict[str, Circuit] = field(default_factory=dict)

    def why_open(self, name: str, now: float) -> str | None:
        circuit = self._circuits.get(name)
        return circuit.reason if circuit is not None and now < circuit.until else None

    def open_until(self, name: str) -> float | None:
        circuit = self._circuits.get(name)
        return None if circuit is None else circuit.until

    def succeeded(self, name: str, began: float, now: float) -> None:
        """A success of an attempt begun at `began`. One that began before the circuit opened proves nothing."""
        circuit = self._circuits.get(name)
        if circuit is not None and now >= circuit.until and began >= circuit.opened:
            del self._circuits[name]

    def failed(self, name: str, now: float, reason: str, *, at_once: bool = False) -> bool:
        """Books a failure; True if the circuit opened by it."""
        circuit = self._circuits.setdefault(name, Circuit())
        circuit.failures += 1
        if now < circuit.until or (circuit.failures < FAILURES_TO_OPEN and not at_once):
            return False
        self._open(circuit, now, circuit.pause, reason)
        circuit.pause = min(circuit.pause * 2, LONGEST_PAUSE_SECONDS)
        return True

    def keep(self, upstreams: frozenset[str]) -> None:
        """Forgets those that the policy no longer has."""
        for name in self._circuits.keys() - upstreams:
            del self._circuits[name]

    def pause(self, name: str, now: float, seconds: float, reason: str) -> None:
        """Opens for a time the upstream asked for (Retry-After), or that its refusal deserves."""
        self._open(self._circuits.setdefault(name, Circuit()), now, seconds, reason)

    def _open(self, circuit: Circuit, now: float, seconds: float, reason: str) -> None:
        circuit.until = max(circuit.until, now + seconds)
        circuit.opened = now
        circuit.reason = reason
        circuit.failures = FAILURES_TO_OPEN - 1  # the next one after the pause is enough
