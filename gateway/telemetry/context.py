"""Which requests are traced: their caller's word where there is one, else a share of them (parent-based sampling)."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
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
_RECORDED, _UNRECORDED = "01", "00"
FOLLOWED_PER_SECOND = 50
"""Of one tenant in one process. At 0.2 ms a trace that is 1 % of a core, and with three spans each a thirteenth of the
queue: no tenant alone pushes out the others."""
_HALF_OF_IDS = 1 << SPAN_BITS


def span_id() -> str:
    """Random, and no secret: the ids of OpenTelemetry's own SDK are of the same kind."""
    return f"{_random.getrandbits(SPAN_BITS) or 1:016x}"


class Sampling:
    """`ratio`: share of the requests without a caller's word, drawn by their ids as `TraceIdRatioBased` does.
    `follow`: whether a caller's sampled flag decides, else the ratio does for all. Not `on`: nothing is recorded.

    A caller says its flag and its trace's id before anybody knows who it is: until `let_in` both count for nothing,
    and the draw is by our own id, which nobody can choose. `most`: how many traces a second each tenant may ask for.
    """

    def __init__(
        self,
        ratio: float = 0.0,
        *,
        follow: bool = True,
        on: bool = False,
        most: int = FOLLOWED_PER_SECOND,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bound, self._follow, self._on = round(ratio * _HALF_OF_IDS), follow, on
        self._most, self._clock = most, clock
        self._second, self._asked = 0, Counter[str]()
        """How many each tenant asked for in this second."""
        self.unfollowed: Callable[[], None] = lambda: None
        """Told of each that was one too many."""

    def begin(self, request_id: str, headers: Mapping[bytes, bytes]) -> Trace | None:
        """None where there is nothing to record and nothing to pass on. A trace that begins here has the id of its
        request: who has a receipt finds its trace."""
        given = headers.get(b"traceparent")
        came = None if given is None else parent_of(given)
        if came is None:
            return self._root(request_id) if self._on else None
        came = came._replace(state=state_of(headers.get(b"tracestate")))
        may = self._on and (_sampled(came) or not self._follow)
        return recorded(came) if may and self._drawn(request_id) else came

    def let_in(self, trace: Trace | None, tenant: str) -> Trace | None:
        """`trace` as it goes on with a caller that is a `tenant`: recorded if it asked for that and there is room."""
        if trace is None or trace.parent is None or trace.span is not None:
            return trace
        if not (self._on and self._follow and _sampled(trace)):
            return trace
        second = int(self._clock())
        if second != self._second:
            self._second, self._asked = second, Counter()
        self._asked[tenant] += 1
        if self._asked[tenant] > self._most:
            self.unfollowed()
            return trace
        return recorded(trace)

    def _root(self, id: str) -> Trace:
        return Trace(id, _RECORDED, None, span_id()) if self._drawn(id) else Trace(id, _UNRECORDED)

    def _drawn(self, id: str) -> bool:
        return self._bound > 0 and int(id[16:], 16) < self._bound


def _sampled(trace: Trace) -> bool:
    return bool(int(trace.flags, 16) & _SAMPLED)


def recorded(trace: Trace) -> Trace:
    """With a span of ours."""
    return trace._replace(flags=_RECORDED, span=span_id())


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
