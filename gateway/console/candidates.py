"""Whom a decision looked at, as the rows of a table: what it knew of each, and what became of it. Pure."""

from __future__ import annotations

from typing import Any

from gateway.edge.account import CANCELLED, CLIENT_LEFT, CLIENT_STALLED, LOST, SHARE_STEPS
from gateway.model import Policy
from gateway.rehearsal.receipt_shape import Looked, Receipt, Tried
from gateway.rehearsal.recorded import SERVED

US_PER_SECOND = 1e6
TOOK_IT, FAILED, NO_ROOM, PASSED_OVER = "took_it", "failed", "no_room", "passed_over"
LEFT, SLOWER, CUT = "left", "slower", "cut"
"""What became of a candidate: it answered; it was asked in vain; it was too full for one more; it was not taken (its
seats may have been full, which no receipt tells). Or it was asked, and is not to blame: the client left or took
nothing, another one was faster, the gateway was shut down."""
_BLAMELESS = {CLIENT_LEFT: LEFT, CLIENT_STALLED: LEFT, LOST: SLOWER, CANCELLED: CUT}
_OVER = 1 + 0.5 / SHARE_STEPS
"""A share that says this much was more than 1, however its load was rounded for the receipt."""


def candidates(policy: Policy, receipt: Receipt) -> list[dict[str, Any]]:
    """In the order in which they were looked at, which is the decision's; null is unknown. `load` and `with_it` are
    shares of the limit, which is in GPU-seconds (`limit_s`) at home and in requests (`limit`) where it is bought."""
    return [_row(policy, receipt, one) for one in receipt.get("candidates") or ()]


def _row(policy: Policy, receipt: Receipt, one: Looked) -> dict[str, Any]:
    name, load, limit = one["upstream"], one.get("load"), one.get("limit")
    upstream = policy.upstreams.get(name)
    with_it = load + one["work"] / limit if load is not None and limit and "work" in one else None
    local = None if upstream is None else upstream.kind == "local"
    tried = [attempt for attempt in receipt.get("attempts") or () if attempt["upstream"] == name]
    return {
        "upstream": name,
        "backend": None if upstream is None else upstream.backend,
        "kind": None if upstream is None else upstream.kind,
        "score": one.get("score"),
        "load": load,
        "with_it": None if with_it is None else round(with_it, 3),
        "limit": limit if local is False else None,
        "limit_s": limit / US_PER_SECOND if local and limit is not None else None,
        "age_ms": one.get("age_ms"),
        **_end(receipt, name, tried[-1] if tried else None, with_it),
    }


def _end(receipt: Receipt, name: str, tried: Tried | None, with_it: float | None) -> dict[str, Any]:
    outcome = receipt.get("outcome") if name == receipt.get("chosen") else None
    if outcome in SERVED:
        return {"end": TOOK_IT, "why": None}
    if tried is not None:
        end, status = LEFT if outcome == "left" else _BLAMELESS.get(tried["result"]), tried.get("status")
        if end is not None:
            return {"end": end, "why": None}
        return {"end": FAILED, "why": tried["result"] if status is None else f"{tried['result']}, status {status}"}
    return {"end": NO_ROOM if with_it is not None and with_it > _OVER else PASSED_OVER, "why": None}
