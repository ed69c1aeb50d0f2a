"""Whether a folder of chains is as it was written: no line changed, removed, moved, or cut off before the last seal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from gateway.audit.lines import GENESIS, BadLine, Head, Line, parts_in, read_line
from gateway.audit.place import PLACE_FILE, place_of


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
    sealed_at: float | None = None
    """When the newest seal in the folder was written (epoch seconds): of what is cut off together with all seals from
    a moment on, nothing in the folder tells but that this is long ago."""


@dataclass(slots=True)
class Evidence:
    """What the sound lines of all seals and trims say of the folder that is named `place`."""

    place: str | None
    sealed: dict[str, Sealed] = field(default_factory=dict)
    strange: dict[str, str] = field(default_factory=dict)
    """Seals in the folder that were written for another one -> the first line that says so."""
    trimmed: dict[str, list[Trimmed]] = field(default_factory=dict)
    sealed_at: float | None = None

    def seals(self, where: str, line: Line) -> bool:
        """Takes in what a seal says; whether anything of it is about this folder."""
        ours = False
        for name, head in (line.heads or {}).items():
            ours |= head.place == self.place
            if head.place != self.place and not name.startswith(("chain-", "seals-")):
                continue  # every folder has `trims` of its own
            if name not in self.sealed or head.n > self.sealed[name].head.n:
                self.sealed[name] = Sealed(head, where)
        return ours

    def may_begin(self, chain: str, line: Line) -> bool:
        """Whether all lines before this one were removed on purpose. More may have been meant: a trim that was
        interrupted leaves some."""
        return any(
            one.upto >= line.n or (one.upto == line.n - 1 and one.head == line.prev)
            for one in self.trimmed.get(chain, ())
        )

    def upto(self, chain: str) -> int:
        return max((one.upto for one in self.trimmed.get(chain, ())), default=0)


def verify(folder: Path, key: bytes, others: Sequence[Path] = ()) -> Report:
    """Looks at every line once, at those of seals twice. `others` are seals from elsewhere: folders of other hosts, or
    files of lines that were saved. Raises OSError."""
    parts, report = parts_in(folder), Report()
    evidence = gather(parts, key, place_of(folder))
    for path in others:
        report.findings += add(evidence, path, key)
    for chain, files in parts.items():
        last = Walk(report, evidence, chain, key).over([path for _, path in files])
        if chain.startswith("chain-"):
            report.chains += 1
            sealed = evidence.sealed.get(chain)
            report.unsealed += max(0, last - (sealed.head.n if sealed else 0))
    _belongings(parts, evidence, report)
    report.sealed_at = evidence.sealed_at
    return report


def _belongings(parts: Mapping[str, list[tuple[int, Path]]], evidence: Evidence, report: Report) -> None:
    """Chains that are not there, and seals that should not be."""
    if evidence.place is None and evidence.strange:
        report.findings.append(f"{PLACE_FILE}: is gone: which chains this folder kept is not known")
    for where in evidence.strange.values() if evidence.place is not None else ():
        said = f"is a seal of another folder: a copy, to be given with --seals, or `{PLACE_FILE}` was replaced"
        report.findings.append(f"{where}: {said}")
    for chain, (head, where) in evidence.sealed.items():
        if chain in parts or head.n <= evidence.upto(chain):
            continue
        if head.place == evidence.place:
            report.findings.append(f"{where}: sealed {head.n} lines of {chain}, and there is no such file")
        else:
            report.notes.append(f"{where}: {chain} is kept in another folder, which is to be verified by itself")


def gather(parts: Mapping[str, list[tuple[int, Path]]], key: bytes, place: str | None) -> Evidence:
    """What the folder's own seals and trims say, of those lines that are sound."""
    found = Evidence(place)
    for chain in (name for name in parts if not name.startswith("chain-")):
        for where, line in _sound_lines([path for _, path in parts[chain]], key):
            if line.chain != chain:
                continue
            if line.place is not None and line.place != place:
                found.strange.setdefault(chain, where)
            if line.heads is not None:
                found.seals(where, line)
                found.sealed_at = max(line.at, found.sealed_at or line.at)
            if line.trimmed is not None and line.upto is not None and line.head is not None:
                found.trimmed.setdefault(line.trimmed, []).append(Trimmed(line.upto, line.head))
    return found


def add(evidence: Evidence, path: Path, key: bytes) -> list[str]:
    """Takes in seals from elsewhere, each line for itself; what speaks against the folder or against them."""
    if path.is_dir():
        files = [file for name, parts in parts_in(path).items() if name.startswith("seals-") for _, file in parts]
    else:
        files = [path]
    known = [evidence.seals(f"{path.name}/{where}", line) for where, line in _sound_lines(files, key) if line.heads]
    if not known:
        return [f"{path}: no seal that was made with this key"]
    if not any(known):
        return [f"{path}: none of its seals knows this folder: it is another gateway's, or `{PLACE_FILE}` was replaced"]
    return []


def _sound_lines(files: Sequence[Path], key: bytes) -> Iterator[tuple[str, Line]]:
    for where, raw in _lines(list(files)):
        with suppress(BadLine):
            yield where, read_line(key, raw)


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


def _lines(files: list[Path]) -> Iterator[tuple[str, bytes]]:
    for path in files:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield f"{path.name}:{number}", line


def _some(first: int, last: int) -> str:
    return f"line {first} is" if first == last else f"lines {first} to {last} are"
