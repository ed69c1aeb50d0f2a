"""Models that a worker said it does not have, when it was asked for one: true of it until its page says otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.model import Reading

HOLD_SECONDS = 10.0
"""For a worker whose page does not list its models: then it is asked again."""


@dataclass(slots=True)
class Unloaded:
    """Times are seconds of the store's clock."""

    _said: dict[str, dict[str, float]] = field(default_factory=dict)
    """Upstream -> name of a model there -> when it said so."""

    def said(self, upstream: str, name: str, now: float) -> None:
        self._said.setdefault(upstream, {})[name] = now

    def names(self, upstream: str, reading: Reading | None, now: float) -> frozenset[str]:
        """What still holds: whatever is older than a reading that lists its models is forgotten."""
        said = self._said.get(upstream)
        if said is None:
            return frozenset()
        listed = reading is not None and reading.models is not None
        until = reading.at if listed and reading is not None else now - HOLD_SECONDS
        held = {name: at for name, at in said.items() if at > until}
        if held:
            self._said[upstream] = held
        else:
            del self._said[upstream]
        return frozenset(held)

    def keep(self, upstreams: frozenset[str]) -> None:
        """Forgets those that the policy no longer has."""
        for name in self._said.keys() - upstreams:
            del self._said[name]
