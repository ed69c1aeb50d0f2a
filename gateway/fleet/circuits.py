"""Which upstreams this replica leaves alone for a while, and why: a breaker each, and a bound for each backend.

Each replica judges for itself, by its own attempts (ADR 18). Times are seconds of the store's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import floor
from random import Random

from gateway.fleet.breaker import SLOW, UNREACHABLE, Circuit, Phase, Window
from gateway.fleet.outliers import Outliers
from gateway.model import Breaker, Upstream

ACCOUNT_PAUSE_SECONDS = 60.0
"""After a refusal of our key or credit: only a human can mend that, so asking more often is noise."""


@dataclass(slots=True)
class Circuits:
    """`peers` is always all of the upstream's backend, itself included."""

    chance: Callable[[], float] = field(default_factory=lambda: Random().random)
    outliers: Outliers = field(default_factory=Outliers)
    _circuits: dict[str, Circuit] = field(default_factory=dict)

    def why_open(self, name: str, now: float) -> str | None:
        """Why nobody may be sent there now; None where somebody may, if only one to see how it is."""
        circuit = self._circuits.get(name)
        if circuit is None or circuit.opened is None:
            return None
        return circuit.why if circuit.phase(now) == "open" or circuit.taken(now) else None

    def phase(self, name: str, now: float) -> Phase:
        circuit = self._circuits.get(name)
        return "closed" if circuit is None else circuit.phase(now)

    def open_until(self, name: str) -> float | None:
        circuit = self._circuits.get(name)
        return None if circuit is None or circuit.opened is None else circuit.until

    def seats(self, name: str, inflight: int, more: int, now: float) -> int | None:
        """How many requests it may hold now, of all replicas, with `inflight` there already: so many `more` while it is
        half open, none while its queue is full. None: as many as ever."""
        circuit = self._circuits.get(name)
        if circuit is None:
            return None
        if circuit.full(now):
            return 0
        return inflight + more if circuit.opened is not None and circuit.phase(now) == "half" else None

    def probe(self, name: str, now: float) -> bool:
        """An attempt leaves for it; True where it is the one that decides."""
        circuit = self._circuits.get(name)
        return circuit is not None and circuit.probe(now)

    def ended(self, name: str, began: float) -> None:
        """An attempt begun at `began` is over, whatever came of it: the next one may try."""
        circuit = self._circuits.get(name)
        if circuit is not None and circuit.probing is not None and began >= (circuit.opened or 0.0):
            circuit.probing = None

    def began_well(self, name: str, began: float, now: float) -> bool:
        """The first token of an answer: enough to close what a probe decides, save for slowness. True where it did."""
        circuit = self._circuits.get(name)
        if circuit is None or circuit.opened is None or circuit.why == SLOW or circuit.phase(now) != "half":
            return False
        return circuit.answered(began, now)

    def answered(
        self, upstream: Upstream, peers: Sequence[Upstream], began: float, now: float, ratio: float | None = None
    ) -> bool:
        """A success of an attempt begun at `began`. `ratio`: how many times as long as forecast it took, where that is
        known. True where the circuit opened or closed by it."""
        circuit, slow = self._of(upstream), upstream.breaker.slow
        if slow is None or ratio is None:
            return circuit.answered(began, now)
        others = [peer.name for peer in peers if peer.name != upstream.name]
        if circuit.phase(now) == "half" and circuit.why == SLOW and began >= (circuit.opened or 0.0):
            usual = self.outliers.usual(others, now - upstream.breaker.window)
            if usual is not None and ratio > slow * usual:
                circuit.open(now, SLOW, self.chance())
                return True
        closed = circuit.answered(began, now)
        if circuit.opened is not None:
            return closed
        self.outliers.saw(upstream.name, ratio, now)
        if not self.outliers.slow(upstream.name, others, slow, upstream.breaker.window, now):
            return closed
        return self._break(upstream, peers, now, SLOW) or closed

    def failed(
        self, upstream: Upstream, peers: Sequence[Upstream], began: float, now: float, *, at_once: bool = False
    ) -> bool:
        """Books a failure of an attempt begun at `began`, `at_once` where nobody listens there; True if the circuit
        opened by it."""
        why = self._of(upstream).failed(began, now, at_once=at_once)
        return why is not None and self._break(upstream, peers, now, why)

    def pause(self, upstream: Upstream, now: float, seconds: float, why: str, *, judged: bool = False) -> None:
        """Leaves it alone for a time that it asked for (Retry-After), or, `judged`, that its refusal deserves: then one
        attempt tries it before the others."""
        self._of(upstream).left_alone(now, seconds, why, judged=judged)

    def busy(self, upstream: Upstream, now: float, asked: float | None = None) -> None:
        """Its queue is full, by its own word, which is no failure: it has no seats for as long as it `asked` for."""
        self._of(upstream).busy(now, asked)

    def keep(self, names: frozenset[str]) -> None:
        """Forgets those that the policy no longer has."""
        for name in self._circuits.keys() - names:
            del self._circuits[name]
        self.outliers.keep(names)

    def _break(self, upstream: Upstream, peers: Sequence[Upstream], now: float, why: str) -> bool:
        circuit = self._of(upstream)
        if why != UNREACHABLE and circuit.phase(now) != "half" and not self._may(upstream, peers, now):
            return False
        circuit.open(now, why, self.chance())
        self.outliers.forget(upstream.name)
        return True

    def _may(self, upstream: Upstream, peers: Sequence[Upstream], now: float) -> bool:
        """Whether one more of the backend may be left alone on our judgement alone. Those that cannot be reached are
        no judgement, and no part of what there is; of the rest one always may, unless the share is 0."""
        judged = [why for peer in peers if peer.name != upstream.name and (why := self._judged(peer.name, now))]
        reached = len(peers) - judged.count(UNREACHABLE)
        most = max(1, floor(upstream.breaker.ejected * reached)) if upstream.breaker.ejected > 0 else 0
        return len(judged) - judged.count(UNREACHABLE) < most

    def _judged(self, name: str, now: float) -> str | None:
        """Why it is broken, open or half open; None for a pause too."""
        circuit = self._circuits.get(name)
        broken = (
            circuit is not None and circuit.opened is not None and circuit.judged and circuit.phase(now) != "closed"
        )
        return circuit.why if circuit is not None and broken else None

    def _of(self, upstream: Upstream) -> Circuit:
        circuit = self._circuits.get(upstream.name)
        if circuit is None:
            circuit = self._circuits[upstream.name] = Circuit.new(upstream.breaker)
        elif circuit.breaker is not upstream.breaker and circuit.breaker != upstream.breaker:
            _changed(circuit, upstream.breaker)
        return circuit


def _changed(circuit: Circuit, breaker: Breaker) -> None:
    """The policy has other numbers: what is open stays so, what was counted over another window is forgotten."""
    if breaker.window != circuit.breaker.window:
        circuit.window = Window(breaker.window)
    circuit.breaker = breaker
