"""What a finder says, and who runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.model import Member


@dataclass(slots=True)
class Report:
    """Of one source of one backend. `changed` is called when either is another than before."""

    changed: Callable[[], None]
    members: frozenset[Member] = frozenset()
    fault: str | None = None
    """Why nothing is known now; `members` are then those that were found last."""

    def found(self, members: frozenset[Member]) -> None:
        if members != self.members:
            self.members = members
            self.changed()

    def failed(self, why: str | None) -> None:
        if why != self.fault:
            self.fault = why
            self.changed()
