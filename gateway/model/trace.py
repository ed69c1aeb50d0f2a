"""W3C Trace Context of one request (https://www.w3.org/TR/trace-context/): what came in, and what goes up."""

from __future__ import annotations

from typing import NamedTuple


class Trace(NamedTuple):
    """`id` and spans are lower-case hex (32 and 16 digits), `flags` two of them."""

    id: str
    flags: str
    parent: str | None = None
    """The caller's span."""
    span: str | None = None
    """Ours; None: this request is not recorded here."""
    state: str | None = None
    """The caller's `tracestate`."""

    def header(self, span: str) -> str:
        """The `traceparent` that goes up with an attempt. Who records nothing passes on what came."""
        return f"00-{self.id}-{span if self.span is not None or self.parent is None else self.parent}-{self.flags}"
