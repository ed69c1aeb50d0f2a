"""Who takes orders: dialect of a bought API or engine of a worker, and endpoint -> how it is spoken to. What is not
here takes the caller's body as it is (`openai.py`)."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.model import EndpointName, Upstream
from gateway.upstreams.dialects.ordering import Dialect
from gateway.upstreams.dialects.workers import comfyui, videos

BY_DIALECT: Mapping[tuple[str, EndpointName], Dialect] = {}
BY_ENGINE: Mapping[tuple[str, EndpointName], Dialect] = {
    ("vllm-omni", "videos"): videos.VLLM_OMNI,
    ("sglang-diffusion", "videos"): videos.SGLANG,
    ("trtllm", "videos"): videos.TRTLLM,
    ("comfyui", "videos"): comfyui.COMFYUI,
    ("comfyui", "images/generations"): comfyui.COMFYUI,
    ("comfyui", "images/edits"): comfyui.COMFYUI,
}


def dialect_of(upstream: Upstream, endpoint: EndpointName, engine: str | None = None) -> Dialect | None:
    """None: our callers' bytes are its own language. `engine`: what the worker was found to be."""
    if upstream.kind == "managed":
        return BY_DIALECT.get((upstream.dialect, endpoint))
    return BY_ENGINE.get((engine or upstream.engine or "", endpoint))
