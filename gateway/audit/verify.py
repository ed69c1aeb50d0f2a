"""Whether a folder of chains is as it was written: no line changed, removed, moved, or cut off before the last seal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from gateway.audit.lines import GENESIS, BadLine, Head, Line, parts_in, read_line


class Sealed(NamedTuple):
    """The longest that a chain was ever seen, and the seal that says so."""

    head: Head
    where: str


class Trimmed(NamedTuple):
    """The last line that was removed on purpose."""

    upto: int
    head: str


@dataclass(slots=True)
class Report:
    """`findings` are proof of tampering or loss, `notes` are not; both are ready to print."""

    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    chains: int = 0
    entries: int = 0
    unsealed: int = 0
    """Entries after the last seal: whether more of them are missing cannot be known."""


@dataclass(slots=True)
class Evidence:
    """What the sound lines of all seals and trims say."""

    sealed: dict[str, Sealed] = field(default_factory=dict)
    places: set[str] = field(default_factory=set)
    trimmed: dict[str, list[Trimmed]] = field(default_factory=dict)

    def may_begin(self, chain: str, line: Line) -> bool:
        """Whether all lines before this one were removed on purpose. More may have been meant: a trim that was
        interrupted leaves some."""
        return any(
            one.upto >= line.n or (one.upto == line.n - 1 and one.head == line.prev)
            for one in self.trimmed.get(chain, ())
        )

    def upto(self, chain: str) -> int:
        return max((one.upto for one in self.trimmed.get(chain, ())), default=0)


def verify(folder: Path, key: bytes) -> Report:
    """Looks at every line once, at those of seals twice. Raises OSError."""
    parts, report = parts_in(folder), Report()
    evidence = gather(parts, key)
    for chain, files in parts.items():
        last = Walk(report, evidence, chain, key).over([path for _, path in files])
        if chain.startswith("chain-"):
            report.chains += 1
            sealed = evidence.sealed.get(chain)
            report.unsealed += max(0, last - (sealed.head.n if sealed else 0))
    for chain, (head, where) in evidence.sealed.items():
        if chain not in parts and head.n > evidence.upto(chain):
            if head.place in evidence.places:
                report.findings.append(f"{where}: sealed {head.n} lines of {chain}, and there is no such file")
            else:
                report.notes.append(f"{where}: {chain} is kept in another folder, which is to be verified by itself")
    return report


def gather(parts: Mapping[str, list[tuple[int, Path]]], key: bytes) -> Evidence:
    """What seals and trims say, of those lines that are sound."""
    found = Evidence()
    for chain in (name for name in parts if not name.startswith("chain-")):
        for where, raw in _lines(path for _, path in parts[chain]):
            try:
                line = read_line(key, raw)
            except BadLine:
                continue
            if line.chain != chain:
                continue
            if line.place is not None:
                found.places.add(line.place)
            for name, head in (line.heads or {}).items():
                if name not in found.sealed or head.n > found.sealed[name].head.n:
                    found.sealed[name] = Sealed(head, where)
            if line.trimmed is not None and line.upto is not None and line.head is not None:
                found.trimmed.setdefault(line.trimmed, []).append(Trimmed(line.upto, line.head))
    return found


class Walk:
    """Along one chain from its first line to its last."""

    def __init__(self, report: Report, evidence: Evidence, chain: str, key: bytes) -> None:
        self._report, self._evidence, self._chain, self._key = report, evidence, chain, key
        self._sealed = evidence.sealed.get(chain)
        self._n = 0
        self._prev: str | None = GENESIS
        """MAC of the line before; None where that one is not sound."""
        self._begun = False

    def over(self, files: list[Path]) -> int:
        """The number of the last sound line."""
        last, where = 0, f"{files[-1].name}:1"
        for where, raw in _lines(files):
            if not raw.endswith(b"\n"):  # if it had been whole, what follows or the seal tells
                self._report.notes.append(f"{where}: torn: its process ended while it was written")
                continue
            line = self._sound(where, raw)
            if line is not None:
                last = max(last, line.n)
        self._ends(where, max(last, self._n, self._evidence.upto(self._chain)))
        return last

    def _sound(self, where: str, raw: bytes) -> Line | None:
        """The line if it is one of this chain; what speaks against it or against its place is found."""
        try:
            line = read_line(self._key, raw)
            if line.chain != self._chain:
                raise BadLine(f"belongs to {line.chain}")
        except BadLine as bad:
            self._find(where, str(bad))
            self._n, self._prev, self._begun = self._n + 1, None, True
            return None
        self._follows(where, line)
        if self._sealed is not None and line.n == self._sealed.head.n and line.mac != self._sealed.head.mac:
            self._find(where, f"is not the line that {self._sealed.where} sealed")
        self._report.entries += self._chain.startswith("chain-")
        self._n, self._prev, self._begun = line.n, line.mac, True
        return line

    def _follows(self, where: str, line: Line) -> None:
        if not self._begun and line.n > 1:
            if not self._evidence.may_begin(self._chain, line):
                self._find(where, f"{_some(1, line.n - 1)} removed, and no trim says so")
        elif line.n > self._n + 1:
            self._find(where, f"{_some(self._n + 1, line.n - 1)} missing before it")
        elif line.n <= self._n:
            self._find(where, f"line {line.n} of the chain after line {self._n}: moved or repeated")
        elif self._prev is not None and line.prev != self._prev:
            self._find(where, "does not follow from the line before it")

    def _ends(self, where: str, last: int) -> None:
        if self._sealed is not None and last < self._sealed.head.n:
            missing = _some(last + 1, self._sealed.head.n)
            self._find(where, f"{missing} missing after it: {self._sealed.where} sealed them")

    def _find(self, where: str, what: str) -> None:
        self._report.findings.append(f"{where}: {what}")


def _lines(files: Iterator[Path] | list[Path]) -> Iterator[tuple[str, bytes]]:
    for path in files:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield f"{path.name}:{number}", line


def _some(first: int, last: int) -> str:
    return f"line {first} is" if first == last else f"lines {first} to {last} are"
