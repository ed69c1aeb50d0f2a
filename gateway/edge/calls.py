"""One call as it came in: its id, its headers, when it must be over."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping, MutableMapping
from math import inf
from secrets import token_hex
from typing import Any, NamedTuple

from gateway.edge.strays import DEMAND, strays
from gateway.errors import InvalidRequest, ResidencyUnknown
from gateway.model import Demand, Policy, Priority, Trace
from gateway.routing.residency import parse_demand

Scope = MutableMapping[str, Any]
MAX_CLIENT_ID = 128
_SHOWN = 64
"""Of a name that a caller misspelt, at most."""
PIPELINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_PRIORITIES: dict[bytes, Priority] = {b"interactive": "interactive", b"standard": "standard", b"batch": "batch"}


class Call(NamedTuple):
    """`headers` keeps the first value of each name, lower-cased;
    `residency` joins all its values (they all must hold)."""

    id: str
    started: float
    path: str
    headers: dict[bytes, bytes]
    residency: str | None
    peer: str | None
    trace: Trace | None = None
    """None: neither recorded nor to be passed on."""
    strays: tuple[str, ...] = ()
    """Names of headers that look like `X-Data-Residency` and are not."""

    def __repr__(self) -> str:
        return f"Call({self.id})"

    @property
    def traced(self) -> bool:
        return self.trace is not None and self.trace.span is not None

    @property
    def client_id(self) -> str | None:
        """The caller's own `X-Request-Id`, if it is short and printable enough to be sent back."""
        given = self.headers.get(b"x-request-id")
        if given is None or not 0 < len(given) <= MAX_CLIENT_ID or not given.isascii():
            return None
        text = given.decode("ascii")
        return text if text.isprintable() else None

    def text(self, name: str) -> str | None:
        """A header as text; `name` is lower-cased."""
        raw = self.headers.get(name.encode())
        return None if raw is None else raw.decode("latin-1")

    def demand(self, policy: Policy) -> Demand:
        """What `X-Data-Residency` asks for. Raises ResidencyUnknown, also where another name was meant to be that."""
        if self.strays and (name := self.stray(policy)) is not None:
            shown = name[:_SHOWN]
            raise ResidencyUnknown(
                f"{shown}: no such header; where data may go is said by X-Data-Residency", param=shown
            )
        return parse_demand(self.residency, policy.zones)

    def stray(self, policy: Policy) -> str | None:
        """The first of `strays` that no rule looks at: what a rule is written for is no mistake."""
        return next((name for name in self.strays if name not in policy.headers), None)

    def pipeline(self) -> str | None:
        """`X-Gateway-Pipeline`. Raises InvalidRequest where that is no name: it is written into the ledger."""
        given = self.text("x-gateway-pipeline")
        if given is not None and PIPELINE.fullmatch(given) is None:
            what = "give a name of letters, digits, `.`, `_`, `:` and `-`, at most 64"
            raise InvalidRequest(f"X-Gateway-Pipeline: {what}", param="X-Gateway-Pipeline")
        return given

    def kept(self, names: Collection[str]) -> dict[str, str]:
        """Those of these headers that came; names are lower-cased."""
        return {name: value for name in names if (value := self.text(name)) is not None}

    def milliseconds(self, name: bytes) -> float | None:
        """A header of milliseconds, in seconds. Raises InvalidRequest for anything but a number >= 0."""
        value = self.number(name)
        return None if value is None else value / 1000

    def deadline(self) -> float | None:
        """When it must be over, by `time.monotonic`, as its caller says. Raises InvalidRequest."""
        left = self.milliseconds(b"x-gateway-deadline-ms")
        return None if left is None else self.started + left

    def number(self, name: bytes) -> float | None:
        """`name` is lower-cased, as it is in `headers`."""
        raw = self.headers.get(name)
        if raw is None:
            return None
        try:
            value = float(raw)
        except ValueError:
            value = -1.0
        if not 0 <= value < inf:
            shown = name.decode().title()
            raise InvalidRequest(f"{shown}: give a number of 0 or more", param=shown)
        return value

    def priority(self) -> Priority:
        raw = self.headers.get(b"x-gateway-priority")
        if raw is None:
            return "standard"
        priority = _PRIORITIES.get(raw.strip().lower())
        if priority is None:
            raise InvalidRequest("X-Gateway-Priority: give interactive, standard or batch", param="X-Gateway-Priority")
        return priority


Begin = Callable[[str, Mapping[bytes, bytes]], Trace | None]


def new_call(scope: Scope, begin: Begin = lambda _id, _headers: None) -> Call:
    """`begin`: as `Tracing.begin`."""
    given = scope["headers"]
    headers = dict(reversed(given))  # of several values of a name the first one stays
    residency: str | None = None
    if DEMAND in headers:
        residency = ",".join(value.decode("latin-1") for name, value in given if name == DEMAND)
    client = scope.get("client")
    id, peer = token_hex(16), client[0] if client else None
    return Call(id, time.monotonic(), scope["path"], headers, residency, peer, begin(id, headers), strays(headers))
