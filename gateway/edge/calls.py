"""One call as it came in: its id, its headers, when it must be over."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from gateway.errors import InvalidRequest
from gateway.model import Priority

Scope = MutableMapping[str, Any]
MAX_CLIENT_ID = 128
_PRIORITIES: dict[str, Priority] = {"interactive": "interactive", "standard": "standard", "batch": "batch"}


@dataclass(frozen=True, slots=True)
class Call:
    """`headers` keeps the first value of each name, lower-cased;
    `residency` joins all its values (they all must hold)."""

    id: str
    started: float
    path: str
    headers: dict[bytes, bytes]
    residency: str | None
    peer: str | None

    @property
    def client_id(self) -> str | None:
        """The caller's own `X-Request-Id`, if it is short and printable enough to be sent back."""
        raw = self.headers.get(b"x-request-id", b"").decode("latin-1")
        return raw if 0 < len(raw) <= MAX_CLIENT_ID and raw.isascii() and raw.isprintable() else None

    def milliseconds(self, name: str) -> float | None:
        """A header of milliseconds, in seconds. Raises InvalidRequest for anything but a number >= 0."""
        value = self.number(name)
        return None if value is None else value / 1000

    def number(self, name: str) -> float | None:
        raw = self.headers.get(name.lower().encode())
        if raw is None:
            return None
        try:
            value = float(raw)
        except ValueError:
            value = -1.0
        if not 0 <= value < float("inf"):
            raise InvalidRequest(f"{name}: give a number of 0 or more", param=name)
        return value

    def priority(self) -> Priority:
        raw = self.headers.get(b"x-gateway-priority", b"standard").decode("latin-1").strip().lower()
        if raw not in _PRIORITIES:
            raise InvalidRequest("X-Gateway-Priority: give interactive, standard or batch", param="X-Gateway-Priority")
        return _PRIORITIES[raw]


def new_call(scope: Scope) -> Call:
    headers: dict[bytes, bytes] = {}
    residency: list[str] = []
    for name, value in scope["headers"]:
        if name == b"x-data-residency":
            residency.append(value.decode("latin-1"))
        headers.setdefault(name, value)
    client = scope.get("client")
    return Call(
        id=token_hex(16),
        started=time.monotonic(),
        path=scope["path"],
        headers=headers,
        residency=",".join(residency) if residency else None,
        peer=client[0] if client else None,
    )
