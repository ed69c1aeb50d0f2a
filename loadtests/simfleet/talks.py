"""The endpoints: how each body is read, and which framing its answer has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from . import bodies
from .bodies import GenBody
from .framing import Chat, Completion, Framing
from .named import Embeddings, Messages, Responses


@dataclass(frozen=True, slots=True)
class Talk:
    """`read` gives the body and the prompt tokens of each answer; it raises BadBody. `prefix` begins the ids."""

    read: Callable[[bytes], tuple[GenBody, list[int]]]
    framing: type[Framing] | None
    """None: only the prompt's tokens are asked for."""
    prefix: str
    chat: bool = True
    """Whether the answer may be a tool call."""


def _chat(raw: bytes) -> tuple[GenBody, list[int]]:
    body = bodies.parse(raw, chat=True)
    return body, bodies.prompt_tokens(body, chat=True)


def _completion(raw: bytes) -> tuple[GenBody, list[int]]:
    body = bodies.parse(raw, chat=False)
    return body, bodies.prompt_tokens(body, chat=False)


SPOKEN_BY_ALL: Mapping[str, Talk] = {
    "/v1/chat/completions": Talk(_chat, Chat, "chatcmpl"),
    "/v1/completions": Talk(_completion, Completion, "cmpl", chat=False),
    "/v1/responses": Talk(bodies.parse_responses, Responses, "resp"),
    "/v1/embeddings": Talk(bodies.parse_embeddings, Embeddings, "embd", chat=False),
}
MESSAGES = "/v1/messages"
SPOKEN_BY_VLLM: Mapping[str, Talk] = {
    **SPOKEN_BY_ALL,
    MESSAGES: Talk(bodies.parse_messages, Messages, "msg"),
    f"{MESSAGES}/count_tokens": Talk(bodies.parse_messages, None, ""),
}
