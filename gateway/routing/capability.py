"""Which upstreams speak which endpoint, and which are asked in the words of its twin instead. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.model import EndpointName, Modality, Upstream

AUTO = "auto"


def _of(*names: EndpointName) -> frozenset[EndpointName]:
    return frozenset(names)


_PLAIN = _of("chat/completions", "completions", "embeddings")
_ALL = _PLAIN | _of("responses", "messages", "messages/count_tokens")
_PICTURES = _of("images/generations", "images/edits")
_HEARS = _of("audio/transcriptions", "audio/translations")
_SPEAKS, _FILMS = _of("audio/speech"), _of("videos")
BY_MODALITY: Mapping[Modality, frozenset[EndpointName]] = {
    "text": _ALL,
    "image": _PICTURES,
    "video": _FILMS,
    "audio": _SPEAKS | _HEARS | _of("realtime"),
}
"""What a model that makes this is asked by."""
BY_ENGINE: Mapping[str | None, frozenset[EndpointName]] = {
    AUTO: _ALL,
    "vllm": _ALL | _HEARS | _of("realtime"),
    "sglang": _ALL,
    "trtllm": _of("chat/completions", "completions", "responses", "images/generations") | _FILMS,
    "triton": _PLAIN,
    "tgi": _of("chat/completions", "completions"),
    "llamacpp": _ALL,
    "nim": _PLAIN | _of("messages"),
    "vllm-omni": _of("chat/completions") | _SPEAKS | _PICTURES | _FILMS,
    "sglang-diffusion": _PICTURES | _FILMS,
    "comfyui": _PICTURES | _FILMS,
    "openai": _PLAIN | _PICTURES | _SPEAKS | _HEARS,
}
"""Of our own workers. `auto` holds until it is found out which one it is; `openai` is any server that speaks the older,
common part of the API, whatever it makes."""
_OPENAI = _PLAIN | _of("responses", "realtime") | _PICTURES | _SPEAKS | _HEARS
BY_DIALECT: Mapping[str, frozenset[EndpointName]] = {
    "openai": _OPENAI,
    "azure": _OPENAI,
    "anthropic": _of("messages", "messages/count_tokens"),
    "gmi": _PICTURES | _FILMS | _SPEAKS,
    "vertex": _FILMS,
    "gemini": _of("chat/completions", "embeddings") | _FILMS,
    "dashscope": _PICTURES | _FILMS,
    "ark": _of("chat/completions") | _PICTURES | _FILMS,
    "kling": _PICTURES | _FILMS,
    "elevenlabs": _SPEAKS,
    "minimax": _SPEAKS | _FILMS,
    "fal": _PICTURES | _FILMS | _SPEAKS,
    "replicate": _PICTURES | _FILMS | _SPEAKS,
}
"""Of bought APIs."""


def spoken(upstream: Upstream, found: str | None = None) -> frozenset[EndpointName]:
    """What the policy says that it speaks, else what its engine or dialect is known to speak. `found`: the engine that
    it was found to be, for one of which the policy does not state it."""
    if upstream.endpoints is not None:
        return upstream.endpoints
    if upstream.kind == "local":
        engine = found if found is not None and upstream.engine == AUTO else upstream.engine
        return BY_ENGINE.get(engine, _PLAIN)
    return BY_DIALECT.get(upstream.dialect, _PLAIN)


TWIN: Mapping[str, EndpointName] = {"chat/completions": "messages", "messages": "chat/completions"}
"""The endpoints whose requests and answers are translated (`upstreams/dialects/translate/`), each into the other."""


def asked_at(upstream: Upstream, endpoint: str, found: str | None = None) -> str | None:
    """The endpoint at which it is asked what came in at `endpoint`: that one, else the twin; None where it speaks
    neither. `found` as in `spoken`."""
    speaks = spoken(upstream, found)
    if endpoint in speaks:
        return endpoint
    twin = TWIN.get(endpoint)
    return twin if twin in speaks else None


CONTINUES_CHATS = frozenset({"vllm", "sglang"})
"""Engines known to leave the last message of a chat open on request (`continue_final_message`, in the
ChatCompletionRequest of either). One that ignores the wish would begin anew, and a client would read the beginning of
its answer twice."""


def continues(endpoint: str, engine: str | None) -> bool:
    """Whether a worker with this engine can go on with a stream of `endpoint` that another one began. With a completion
    any can: to the engine it is one more prompt."""
    return endpoint == "completions" or engine in CONTINUES_CHATS
