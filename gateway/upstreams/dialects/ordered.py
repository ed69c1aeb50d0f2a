"""Who takes orders: dialect of a bought API or engine of a worker, and endpoint -> how it is spoken to. What is not
here takes the caller's body as it is (`openai.py`)."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.model import EndpointName, Upstream
from gateway.upstreams.dialects.managed.ark import Ark
from gateway.upstreams.dialects.managed.dashscope import DashScope
from gateway.upstreams.dialects.managed.gmi import Gmi
from gateway.upstreams.dialects.managed.vertex import Vertex
from gateway.upstreams.dialects.ordering import Dialect

_ARK, _DASHSCOPE, _GMI, _VERTEX = Ark(), DashScope(), Gmi(), Vertex()
BY_DIALECT: Mapping[tuple[str, EndpointName], Dialect] = {
    ("ark", "images/generations"): _ARK,
    ("ark", "images/edits"): _ARK,
    ("ark", "videos"): _ARK,
    ("dashscope", "images/generations"): _DASHSCOPE,
    ("dashscope", "images/edits"): _DASHSCOPE,
    ("dashscope", "videos"): _DASHSCOPE,
    ("gmi", "images/generations"): _GMI,
    ("gmi", "images/edits"): _GMI,
    ("gmi", "videos"): _GMI,
    ("gmi", "audio/speech"): _GMI,
    ("vertex", "videos"): _VERTEX,
}
BY_ENGINE: Mapping[tuple[str, EndpointName], Dialect] = {}


def dialect_of(upstream: Upstream, endpoint: EndpointName, engine: str | None = None) -> Dialect | None:
    """None: our callers' bytes are its own language. `engine`: what the worker was found to be."""
    if upstream.kind == "managed":
        return BY_DIALECT.get((upstream.dialect, endpoint))
    return BY_ENGINE.get((engine or upstream.engine or "", endpoint))
