"""After the last attempt: what the client is told, in our own words, naming what was tried."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from gateway.errors import (
    DeadlineExceeded,
    FleetSaturated,
    GatewayError,
    InvalidRequest,
    NoCapacity,
    Refused,
    UpstreamFailed,
    UpstreamFault,
    UpstreamTimeout,
)
from gateway.model import Kind
from gateway.upstreams import missing
from gateway.upstreams.answers import about_content, about_request, retryable

RETRY_AFTER_SECONDS = 5
TICK_SECONDS = 0.01
"""An upstream's timeout is kept by the event loop's clock, which runs a few milliseconds behind."""
_NOT_NOW = (503, 529, missing.STATUS)
"""Refusals that mean: not here and not now. A 404 is one where the worker does not have the model."""


def passed(deadline: float | None) -> bool:
    """Whether the caller's deadline (monotonic seconds) has come."""
    return deadline is not None and time.monotonic() >= deadline - TICK_SECONDS


def verdict(faults: Sequence[tuple[str, UpstreamFault]], kind: Kind, deadline: float | None) -> GatewayError:
    """The error for a request whose attempts all failed. `kind` is that of the last upstream, `deadline` monotonic."""
    tried = "; ".join(f"{name}: {fault.message if hasattr(fault, 'message') else fault}" for name, fault in faults)
    last = faults[-1][1]
    retry = None if retryable(kind, last) else False
    if about_content(last):
        return InvalidRequest(f"the content was refused: tried {tried}")
    if about_request(last):
        return InvalidRequest(f"what was asked for was refused: tried {tried}")
    if isinstance(last, UpstreamTimeout) and passed(deadline):
        return DeadlineExceeded(f"the deadline passed; tried {tried}", retry=retry)
    if isinstance(last, Refused) and not last.account and last.status == 429:
        return FleetSaturated(f"tried {tried}", retry_after=_seconds(last))
    if (isinstance(last, Refused) and last.status in _NOT_NOW) or not last.processed:
        return NoCapacity(f"tried {tried}", retry_after=_seconds(last), retry=retry)
    return UpstreamFailed(f"tried {tried}", retry=retry)


def _seconds(fault: UpstreamFault) -> int:
    said = fault.retry_after if isinstance(fault, Refused) else None
    return max(1, math.ceil(said)) if said else RETRY_AFTER_SECONDS
