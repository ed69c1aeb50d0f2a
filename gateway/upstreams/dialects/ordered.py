"""Who takes orders: dialect of a bought API or engine of a worker, and endpoint -> how it is spoken to. What is not
here takes the caller's body as it is (`openai.py`)."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.model import EndpointName, Upstream
from gateway.upstreams.dialects.ordering import Dialect

BY_DIALECT: Mapping[tuple[str, EndpointName], Dialect] = {}
BY_ENGINE: Mapping[tuple[str, EndpointName], Dialect] = {}


def dialect_of(upstream: Upstream, endpoint: EndpointName, engine: str | None = None) -> Dialect | None:
    """None: our callers' bytes are its own language. `engine`: what the worker was found to be."""
    if upstream.kind == "managed":
        return BY_DIALECT.get((upstream.dialect, endpoint))
    return BY_ENGINE.get((engine or upstream.engine or "", endpoint))
