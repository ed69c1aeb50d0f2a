"""The gateway's audit as it is on the disk at any moment, for the judge of what arrives."""

from __future__ import annotations

import json
from pathlib import Path

from loadtests.residency.oracle import Audited


class Record:
    """All lines `sent` of the chains of entries in a folder. Reads what was added since it last looked."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._read = folder, dict[Path, int]()
        self._lines: dict[str, list[Audited]] = {}

    def of(self, request: str) -> list[Audited]:
        """In the order in which they were written."""
        for path in sorted(self._folder.glob("chain-*")):
            at = self._read.get(path, 0)
            if path.stat().st_size > at:
                with path.open("rb") as file:
                    file.seek(at)
                    raws = file.readlines()
                self._read[path] = at + sum(map(len, raws))
                for raw in raws:
                    self._take(json.loads(raw))
        return self._lines.get(request, [])

    def _take(self, line: dict[str, object]) -> None:
        if line["what"] == "sent":
            told = Audited(
                str(line["rule"]),
                frozenset(_words(line["demand"])),
                str(line["upstream"]).rpartition("-")[2],
                str(line["policy"]),
            )
            if line["upstream"] in _words(line["allowed"]):
                self._lines.setdefault(str(line["request"]), []).append(told)


def _words(said: object) -> list[str]:
    assert isinstance(said, list)
    return said
