"""What the gateway's log says of its policy, as lines for people: what took effect, and what was refused where."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

IN_FORCE = "policy in force"
REFUSED = "policy refused, the last good one stays"
SOUND = "policy folder sound again"


class PolicyNews:
    """Reads what was added to the log since the last look, from the moment it is made."""

    def __init__(self, log: Path, folder: str) -> None:
        self._log, self._folder = log, folder
        self._read = log.stat().st_size if log.exists() else 0

    def lines(self) -> Iterator[str]:
        """One for each policy that took effect, one for each fault of one that did not, and one
        when such a folder was put right without a change of policy."""
        for row in self._rows():
            if row.get("event") == IN_FORCE:
                origin = "" if row.get("from") in (None, "folder") else f", {row['from']}"
                yield f"{self._folder}: version {row.get('version')} is in force{origin}"
            elif row.get("event") == REFUSED:
                yield f"{self._folder}: refused, the last good one stays: {row.get('fault')}"
            elif row.get("event") == SOUND:
                yield f"{self._folder}: the folder on disk is the policy in force again, version {row.get('version')}"

    def _rows(self) -> Iterator[dict[str, object]]:
        if not self._log.exists():
            return
        with self._log.open("rb") as file:
            file.seek(self._read)
            added = file.read()
        whole = added[: added.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            try:
                row = json.loads(line)
            except ValueError:  # not every line is the gateway's own
                continue
            if isinstance(row, dict):
                yield row
