"""What a run with media left behind, and what the oracle says to it: journals of all servers, and all files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.residency import oracle
from loadtests.residency.media_site import LIES, SHARES, WORLDS, Medium
from loadtests.residency.run import Tally
from loadtests.residency.traffic import Sent
from loadtests.residency.wires import NONCE
from loadtests.residency.witness import HOST, Delivery

_MADE = re.compile(rb"made for " + NONCE.pattern)


@dataclass(slots=True)
class Evidence:
    """`place` has all that the run wrote: data folders, logs, the store's file, and results of jobs in `kept`. `sent`:
    by its nonce, what each caller said."""

    place: Path
    tallies: dict[Medium, Tally] = field(default_factory=lambda: {medium: Tally() for medium in SHARES})
    sent: dict[str, tuple[Medium, Sent]] = field(default_factory=dict)
    journal: list[Delivery] = field(default_factory=list)

    @property
    def kept(self) -> Path:
        return self.place / "artefacts"

    def judged(self, worlds: Sequence[oracle.World] = WORLDS, lies: oracle.Place = LIES) -> dict[Medium, Tally]:
        """A delivery that any version of the policy allows is allowed: a journal does not tell which one its request
        began with. What a tenant, a model and a caller demand is the same in all."""
        made: dict[Medium, Tally] = {medium: Tally() for medium in self.tallies}
        for medium, tally in self.tallies.items():
            made[medium].add(tally)
        for seen in self.journal:
            of = self.sent.get(seen.nonce or "")
            if of is None:
                made["films"].found(f"{seen.host} was sent what nobody said: {seen.line}")
            else:
                _deliver(made[of[0]], of[1], seen, worlds)
        for path in sorted(self.place.rglob("*")):
            if path.is_file():
                self._look(path, made, worlds[0], lies)
        return made

    def _look(self, path: Path, made: dict[Medium, Tally], world: oracle.World, lies: oracle.Place) -> None:
        """Results of jobs lie where they are kept, and nowhere else."""
        for nonce in {found[1].decode() for found in _MADE.finditer(path.read_bytes())}:
            medium, sent = self.sent[nonce]
            tally = made[medium]
            if not path.is_relative_to(self.kept) or not sent.job:
                tally.found(f"what was made for {sent.ask} lies in {path.name}", "results")
                continue
            tally.counts["results kept"] += 1
            why = oracle.misplaced(lies, world, oracle.demanded(world, sent.ask) or set())
            if why is not None:
                tally.found(f"what was made for {sent.ask} is {why}", "results")


def _deliver(tally: Tally, sent: Sent, seen: Delivery, worlds: Sequence[oracle.World]) -> None:
    tally.counts["deliveries"] += 1
    whys = [oracle.forbidden(world, sent.ask, seen.host, HOST) for world in worlds]
    if all(whys):
        tally.found(f"{sent.ask} reached {seen.host} ({seen.line}): {whys[0]}", sent.ask.endpoint)
    if oracle.demanded(worlds[0], sent.ask):
        ours = worlds[0].by_host[seen.host].local
        tally.counts["flagged to our own workers" if ours else "flagged to private endpoints"] += 1
        tally.counts["flagged jobs"] += sent.job
