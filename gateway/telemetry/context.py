"""Which requests are traced: their caller's word where there is one, else a share of them (parent-based sampling)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random

from gateway.model import Trace

SPAN_BITS, SPAN_DIGITS = 64, 16
_random = Random()
MAX_STATE = 512
"""The least that everybody must pass on of a `tracestate` (section 3.3.1.5); a longer one is dropped."""
_PARENT_LENGTH = 55
_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})", re.ASCII)
_STATE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?", re.ASCII)
_SAMPLED = 0x01
_HALF_OF_IDS = 1 << SPAN_BITS


def span_id() -> str:
    """Random, and no secret: the ids of OpenTelemetry's own SDK are of the same kind."""
    return f"{_random.getrandbits(SPAN_BITS) or 1:016x}"


class Sampling:
    """`ratio`: share of the requests without a caller's word, drawn by their ids as `TraceIdRatioBased` does.
    `follow`: whether a caller's sampled flag decides, else the ratio does for all. Not `on`: nothing is recorded."""

    def __init__(self, ratio: float = 0.0, *, follow: bool = True, on: bool = False) -> None:
        self._bound, self._follow, self._on = round(ratio * _HALF_OF_IDS), follow, on

    def begin(self, request_id: str, headers: Mapping[bytes, bytes]) -> Trace | None:
        """None where there is nothing to record and nothing to pass on. A trace that begins here has the id of its
        request: who has a receipt finds its trace."""
        given = headers.get(b"traceparent")
        came = None if given is None else parent_of(given)
        if came is None:
            return self._root(request_id) if self._on else None
        state = state_of(headers.get(b"tracestate"))
        if not self._on:
            return came._replace(state=state)
        wanted = bool(int(came.flags, 16) & _SAMPLED) if self._follow else self._drawn(came.id)
        if not wanted:
            return came._replace(state=state)
        return came._replace(flags="01", span=span_id(), state=state)

    def _root(self, id: str) -> Trace:
        return Trace(id, "01", None, span_id()) if self._drawn(id) else Trace(id, "00")

    def _drawn(self, id: str) -> bool:
        return self._bound > 0 and int(id[16:], 16) < self._bound


def parent_of(header: bytes) -> Trace | None:
    """None for what is not well-formed: it is not continued."""
    if len(header) != _PARENT_LENGTH:
        return None
    found = _PARENT.fullmatch(header.decode("latin-1"))
    return None if found is None else Trace(found[1], found[3], found[2])


def state_of(header: bytes | None) -> str | None:
    if header is None or len(header) > MAX_STATE:
        return None
    text = header.decode("latin-1")
    return text if _STATE.fullmatch(text) else None
