"""What the test expects of one engine and not of another; found out by asking it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import httpx


@dataclass(frozen=True, slots=True)
class Kind:
    """One engine. `name` is its `engine` in backends.yaml; `running` and `waiting` are series of its page."""

    name: str
    running: str
    waiting: str
    tells_kv: bool
    """Whether its page has the use of the KV cache."""
    cut_status: str
    """Status of a response that its token limit ended."""
    numbers_events: bool
    """Whether the events of a streamed response are numbered."""
    refuses_max_tokens: bool
    """Whether more output than the context holds is refused; otherwise it writes until the context is full."""
    tells_start: bool
    """Whether its page has the start of its process: how a restart is known."""
    aborts_plain: bool
    """Whether a plain answer ends when its client leaves, however busy the engine is."""


VLLM = Kind(
    name="vllm",
    running="vllm:num_requests_running",
    waiting="vllm:num_requests_waiting",
    tells_kv=True,
    cut_status="incomplete",
    numbers_events=True,
    refuses_max_tokens=True,
    tells_start=True,
    aborts_plain=True,
)
LLAMACPP = Kind(
    name="llamacpp",
    running="llamacpp:requests_processing",
    waiting="llamacpp:requests_deferred",
    tells_kv=False,
    cut_status="completed",
    numbers_events=False,
    refuses_max_tokens=False,
    tells_start=False,
    aborts_plain=False,
)
BY_OWNER: Mapping[str, Kind] = {"vllm": VLLM, "llamacpp": LLAMACPP}
"""`owned_by` of the model card -> the engine."""


@dataclass(frozen=True, slots=True)
class About:
    """What a ready engine says of itself. `longest` is the context of one request, in tokens."""

    model: str
    longest: int
    version: str
    kind: Kind = VLLM


async def ask(client: httpx.AsyncClient) -> About:
    """Raises httpx.HTTPError, LookupError, TypeError or ValueError where it shows itself in no known way."""
    card = (await client.get("/v1/models")).raise_for_status().json()["data"][0]
    kind = BY_OWNER[card["owned_by"]]
    if kind is LLAMACPP:
        props = (await client.get("/props")).raise_for_status().json()
        return About(card["id"], card["meta"]["n_ctx"], props["build_info"], kind)
    said = (await client.get("/version")).raise_for_status().json()
    return About(card["id"], card["max_model_len"], said["version"], kind)
