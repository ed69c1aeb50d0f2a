"""A whole chat completion as an answer of Anthropic's Messages."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from msgspec import Raw

from gateway.errors import BadAnswer
from gateway.upstreams.dialects.figures import ODD_JSON
from gateway.upstreams.dialects.openai import usage_in
from gateway.upstreams.dialects.translate import reasons, usages
from gateway.upstreams.dialects.translate.shapes import EMPTY_OBJECT, OBJECT, ToolCall, told


class _Said(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None


class _Choice(msgspec.Struct):
    message: _Said
    finish_reason: str | None = None
    stop_reason: Any = None
    matched_stop: Any = None


class _Answer(msgspec.Struct):
    choices: list[_Choice]
    id: str = ""
    model: str = ""
    usage: Any = None


_answer = msgspec.json.Decoder(_Answer)


def to_messages(body: bytes, stops: Collection[str], *, thinking: bool) -> bytes:
    """`stops`: the caller's stop sequences; `thinking`: whether it wants to see any. Raises BadAnswer."""
    found = told(_answer, body)
    if not found.choices:
        raise BadAnswer("answered without a choice")
    choice = found.choices[0]
    said, content = choice.message, list[dict[str, Any]]()
    thoughts = said.reasoning_content or said.reasoning
    if thinking and thoughts:
        content.append({"type": "thinking", "thinking": thoughts, "signature": ""})
    text = said.content or said.refusal
    if text:
        content.append({"type": "text", "text": text})
    content += [_use(call) for call in said.tool_calls or ()]
    reason, sequence = reasons.for_messages(
        "content_filter" if said.refusal else choice.finish_reason,
        called=bool(said.tool_calls),
        matched=matched(stops, choice.stop_reason, choice.matched_stop),
    )
    usage = usage_in(found.usage)
    return msgspec.json.encode(
        {
            "id": found.id,
            "type": "message",
            "role": "assistant",
            "model": found.model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": sequence,
            "usage": usages.UNTOLD if usage is None else usages.for_messages(usage),
        }
    )


def matched(stops: Collection[str], *named: Any) -> str | None:
    """Which stop sequence ended it, where the engine says so: vLLM in `stop_reason`, SGLang in `matched_stop`."""
    return next((one for one in named if isinstance(one, str) and one in stops), None)


def _use(call: ToolCall) -> dict[str, Any]:
    if call.function is None:
        raise BadAnswer("answered with a tool call that is none")
    arguments = call.function.arguments.encode()
    return {"type": "tool_use", "id": call.id, "name": call.function.name, "input": _object(arguments)}


def _object(arguments: bytes) -> Raw:
    """Cut by the cap on the output they are no JSON: the tool must not be run, and the caller sees `max_tokens`."""
    try:
        OBJECT.decode(arguments)
    except ODD_JSON:
        return EMPTY_OBJECT
    return Raw(arguments)
