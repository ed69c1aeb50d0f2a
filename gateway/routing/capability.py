"""Which upstreams speak which endpoint. What one does not speak is passed to another one, never translated."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.model import EndpointName, Upstream

AUTO = "auto"
_PLAIN: frozenset[EndpointName] = frozenset({"chat/completions", "completions", "embeddings"})
_ALL: frozenset[EndpointName] = _PLAIN | {"responses", "messages", "messages/count_tokens"}
_NONE: frozenset[EndpointName] = frozenset()
BY_ENGINE: Mapping[str | None, frozenset[EndpointName]] = {
    AUTO: _ALL,
    "vllm": _ALL,
    "sglang": _ALL,
    "trtllm": frozenset({"chat/completions", "completions", "responses"}),
    "triton": _PLAIN,
    "tgi": frozenset({"chat/completions", "completions"}),
    "llamacpp": _ALL,
    "nim": _PLAIN | {"messages"},
    "vllm-omni": frozenset({"chat/completions"}),
    "sglang-diffusion": _NONE,
    "comfyui": _NONE,
    "openai": _PLAIN,
}
"""Of our own workers. `auto` holds until it is found out which one it is; `openai` is any server that speaks the older,
common part of the API."""
BY_DIALECT: Mapping[str, frozenset[EndpointName]] = {"openai": _PLAIN | {"responses"}}
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


CONTINUES_CHATS = frozenset({"vllm", "sglang"})
"""Engines known to leave the last message of a chat open on request (`continue_final_message`, in the
ChatCompletionRequest of either). One that ignores the wish would begin anew, and a client would read the beginning of
its answer twice."""


def continues(endpoint: str, engine: str | None) -> bool:
    """Whether a worker with this engine can go on with a stream of `endpoint` that another one began. With a completion
    any can: to the engine it is one more prompt."""
    return endpoint == "completions" or engine in CONTINUES_CHATS
