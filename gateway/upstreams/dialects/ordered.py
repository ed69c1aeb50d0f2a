"""Who takes orders: dialect of a bought API or engine of a worker, and endpoint -> how it is spoken to. What is not
here takes the caller's body as it is (`openai.py`)."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.model import EndpointName, Upstream
from gateway.upstreams.dialects.managed.ark import Ark
from gateway.upstreams.dialects.managed.dashscope import DashScope
from gateway.upstreams.dialects.managed.elevenlabs import ElevenLabs
from gateway.upstreams.dialects.managed.fal import Fal
from gateway.upstreams.dialects.managed.gemini import Gemini
from gateway.upstreams.dialects.managed.gmi import Gmi
from gateway.upstreams.dialects.managed.kling import Kling
from gateway.upstreams.dialects.managed.minimax import MiniMaxSpeech
from gateway.upstreams.dialects.managed.minimax_films import MiniMaxFilms
from gateway.upstreams.dialects.managed.replicate import Replicate
from gateway.upstreams.dialects.managed.vertex import Vertex
from gateway.upstreams.dialects.ordering import Dialect
from gateway.upstreams.dialects.workers import comfyui, videos
from gateway.upstreams.google_tokens import TOKEN_HOST

_PICTURES: tuple[EndpointName, ...] = ("images/generations", "images/edits")
_FILMS: tuple[EndpointName, ...] = ("videos",)
_SPEECH: tuple[EndpointName, ...] = ("audio/speech",)
_MANAGED: tuple[tuple[Dialect, tuple[EndpointName, ...]], ...] = (
    (Ark(), _PICTURES + _FILMS),
    (DashScope(), _PICTURES + _FILMS),
    (Gmi(), _PICTURES + _FILMS + _SPEECH),
    (Vertex(), _FILMS),
    (Fal(), _PICTURES + _FILMS + _SPEECH),
    (Replicate(), _PICTURES + _FILMS + _SPEECH),
    (Kling(), _FILMS),
    (Kling(poll_seconds=1.5), _PICTURES),
    (ElevenLabs(), _SPEECH),
    (MiniMaxSpeech(), _SPEECH),
    (MiniMaxFilms(), _FILMS),
    (Gemini(), _FILMS),
)
BY_DIALECT: Mapping[tuple[str, EndpointName], Dialect] = {
    (dialect.name, endpoint): dialect for dialect, endpoints in _MANAGED for endpoint in endpoints
}
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


def hosts_of(dialect: str) -> tuple[str, ...]:
    """Globs of the hosts that a bought API of this dialect is asked at beside its own: results, tokens."""
    tokens = (TOKEN_HOST,) if dialect == Vertex().name else ()
    return tuple(
        sorted({host for (name, _), one in BY_DIALECT.items() if name == dialect for host in one.hosts} | {*tokens})
    )
