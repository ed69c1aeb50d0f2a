"""A whole answer of Anthropic's Messages as a chat completion."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.upstreams.dialects.anthropic import Tally
from gateway.upstreams.dialects.translate import reasons, usages
from gateway.upstreams.dialects.translate.shapes import Block, told, words


class _Answer(msgspec.Struct):
    content: list[Block]
    id: str = ""
    model: str = ""
    stop_reason: str | None = None
    usage: Any = None


_answer = msgspec.json.Decoder(_Answer)


def to_chat(body: bytes, created: int) -> bytes:
    """`created`: seconds since the epoch. Thinking is shown as `reasoning_content`, as vLLM and DeepSeek have it; its
    signature has no place. Raises BadAnswer."""
    found = told(_answer, body)
    texts = [block.text for block in found.content if block.type == "text"]
    calls = [_call(block) for block in found.content if block.type == "tool_use"]
    thoughts = "".join(block.thinking for block in found.content if block.type == "thinking")
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts else None, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    if thoughts:
        message["reasoning_content"] = thoughts
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": reasons.for_chat(found.stop_reason),
    }
    made: dict[str, Any] = {"id": found.id, "object": "chat.completion", "created": created, "model": found.model}
    usage = Tally().take(found.usage)
    told_usage = {} if usage is None else {"usage": usages.for_chat(usage)}
    return msgspec.json.encode({**made, "choices": [choice], **told_usage})


def _call(block: Block) -> dict[str, Any]:
    function = {"name": block.name, "arguments": words(block.input)}
    return {"id": block.id, "type": "function", "function": function}
