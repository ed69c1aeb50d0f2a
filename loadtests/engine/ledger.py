"""What was checked: one printed line each, with what was expected and what was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LONGEST = 200
"""Characters of a value that are shown."""


@dataclass(frozen=True, slots=True)
class Finding:
    section: str
    what: str
    expected: str
    seen: str
    ok: bool

    def text(self) -> str:
        return f"{'ok  ' if self.ok else 'FAIL'}  {self.what}: expected {self.expected}; saw {self.seen}"


class Ledger:
    """Prints as it goes, so that a check that hangs is seen to hang."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self._section = ""

    def section(self, title: str) -> None:
        self._section = title
        print(f"-- {title}", flush=True)

    def add(self, what: str, expected: object, seen: object, ok: bool | None = None) -> bool:
        """Books one check; without `ok` it holds where both are equal."""
        holds = expected == seen if ok is None else ok
        finding = Finding(self._section, _shown(what), _shown(expected), _shown(seen), holds)
        self.findings.append(finding)
        print(finding.text(), flush=True)
        return holds

    @property
    def failed(self) -> Sequence[Finding]:
        return [finding for finding in self.findings if not finding.ok]

    def verdict(self) -> str:
        if not self.findings:
            return "engine-test: FAIL, nothing was checked"
        if self.failed:
            return f"engine-test: FAIL, {len(self.failed)} of {len(self.findings)} checks do not hold"
        return f"engine-test: PASS, all {len(self.findings)} checks hold"


def _shown(value: object) -> str:
    """Short, on one line, and fit for a cell of a table."""
    if isinstance(value, tuple):
        return ", ".join(_shown(part) for part in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = " ".join(str(value).split()).replace("|", "/")
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
