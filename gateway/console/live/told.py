"""What one viewer of the feed knows: the other end of it, for commands and tests. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.console.live.history import OUTCOMES

HOUR_SECONDS = 3600

Data = Mapping[str, Any]


@dataclass(slots=True)
class Told:
    """`take` each event in its order. All but fleet and flow are as they came last."""

    rows: dict[str, Data] = field(default_factory=dict)
    """Upstream -> its row by column."""
    flow: dict[int, dict[str, dict[str, int]]] = field(default_factory=dict)
    """Minute -> rule -> outcome -> how many; at most an hour."""
    last: dict[str, Data] = field(default_factory=dict)
    """Kind -> its last event."""

    def take(self, kind: str, data: Data) -> None:
        self.last[kind] = data
        if kind == "fleet":
            self._fleet(data)
        elif kind == "flow":
            self._flow(data)

    @property
    def whole(self) -> bool:
        """Whether there is enough to show a first picture."""
        return {"hello", "fleet", "status"} <= self.last.keys()

    def outcomes(self, rule: str) -> dict[str, int]:
        """Of the hour."""
        sums = dict.fromkeys(OUTCOMES, 0)
        for minute in self.flow.values():
            for outcome, count in minute.get(rule, {}).items():
                sums[outcome] = sums.get(outcome, 0) + count
        return sums

    def _fleet(self, data: Data) -> None:
        columns = self.last["hello"]["columns"]
        if data["all"]:
            self.rows = {}
        for row in data["rows"]:
            made = dict(zip(columns, row, strict=True))
            self.rows[made["name"]] = made
        for name in data.get("gone", ()):
            self.rows.pop(name, None)

    def _flow(self, data: Data) -> None:
        if data["all"]:
            self.flow = {}
        for place, at in enumerate(data["minutes"]):
            self.flow[at] = {
                rule: {outcome: counts[place] for outcome, counts in outcomes.items() if counts[place]}
                for rule, outcomes in data["rules"].items()
            }
        newest = max(self.flow, default=0)
        for at in [at for at in self.flow if newest - at >= HOUR_SECONDS]:
            del self.flow[at]
