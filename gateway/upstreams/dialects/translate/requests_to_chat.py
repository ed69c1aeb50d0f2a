"""A request of Anthropic's Messages in the words of chat/completions. What has no counterpart is refused by name; what
neither API knows goes up as it is, as it would untranslated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from gateway.upstreams.dialects.translate import pictures, tools
from gateway.upstreams.dialects.translate.shapes import NULL, Block, Message, cannot, given, raw

_TRANSLATED = frozenset(
    {
        *("messages", "system", "tools", "tool_choice", "stop_sequences", "thinking", "output_config", "metadata"),
        "service_tier",
    }
)
_HINTS = frozenset({"cache_control", "diagnostics"})
"""They change nothing in an answer: left out."""
_REFUSED = frozenset(
    {"container", "mcp_servers", "context_management", "inference_geo", "user_profile_id", "workspace_id"}
)
"""What only Anthropic has, by its names in the SDK's MessageCreateParams."""
_CHATS_OWN: Mapping[str, tuple[Any, ...]] = {
    "max_completion_tokens": (),
    "n": (1,),
    "best_of": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
    "functions": ([],),
    "function_call": ("none", "auto"),
}
"""What Messages does not have and a chat would obey: a bound beside the one that money is set aside for, more answers
than are given back, dearer output, or output that has no place. With the values that mean nothing."""
_TIERS = {"auto": "auto", "standard_only": "default"}
_LOW, _MEDIUM = 2_048, 8_192
"""Tokens of a thinking budget up to which it is a low, and a medium, effort."""
_FAILED = "Error: "
"""What a tool's result that is an error begins with: a chat has no flag for it."""


class _Thinking(msgspec.Struct):
    type: str
    budget_tokens: int | None = None


class _JsonFormat(msgspec.Struct):
    type: str
    schema: Raw = Raw(NULL)


class _OutputConfig(msgspec.Struct):
    effort: str | None = None
    format: _JsonFormat | None = None


class _Metadata(msgspec.Struct):
    user_id: str | None = None


def thinks(fields: Mapping[str, Raw]) -> bool:
    """Whether the caller wants to see thinking. Raises InvalidRequest."""
    thinking = given(fields, "thinking", _Thinking)
    return thinking is not None and thinking.type in ("enabled", "adaptive")


def to_chat(fields: Mapping[str, Raw]) -> dict[str, Raw]:
    """The request's fields. Raises InvalidRequest."""
    made: dict[str, Any] = {}
    for name, value in fields.items():
        if name in _REFUSED and bytes(value) != NULL:
            raise cannot(name, "has no counterpart in chat/completions")
        if name in _CHATS_OWN:
            _must_mean_nothing(fields, name)
            continue
        if name not in _TRANSLATED and name not in _HINTS and name not in _REFUSED:
            made[name] = value
    made["messages"] = [*_system(fields), *_messages(given(fields, "messages", list[Message]) or [])]
    made |= tools.for_chat(fields)
    made |= _output(fields)
    stop = given(fields, "stop_sequences", list[str])
    if stop:
        made["stop"] = stop
    metadata = given(fields, "metadata", _Metadata)
    if metadata is not None and metadata.user_id is not None:
        made["user"] = metadata.user_id
    tier = _TIERS.get(given(fields, "service_tier", str) or "")
    if tier is not None:
        made["service_tier"] = tier
    return {name: value if isinstance(value, Raw) else raw(value) for name, value in made.items()}


def _must_mean_nothing(fields: Mapping[str, Raw], name: str) -> None:
    value = given(fields, name, object)
    if value is not None and value not in _CHATS_OWN[name]:
        raise cannot(name, "is of chat/completions, not of Messages: ask there")


def _output(fields: Mapping[str, Raw]) -> dict[str, Any]:
    """`reasoning_effort` and `response_format`. Without an effort, a budget says about how much."""
    made: dict[str, Any] = {}
    config = given(fields, "output_config", _OutputConfig) or _OutputConfig()
    thinking = given(fields, "thinking", _Thinking)
    effort = config.effort
    if effort is None and thinking is not None and thinking.type == "enabled" and thinking.budget_tokens is not None:
        budget = thinking.budget_tokens
        effort = "low" if budget <= _LOW else "medium" if budget <= _MEDIUM else "high"
    if effort is not None:
        made["reasoning_effort"] = effort
    if config.format is not None:
        if config.format.type != "json_schema":
            raise cannot("output_config", f"a format of type {config.format.type} has no counterpart")
        schema = {"name": "answer", "schema": config.format.schema, "strict": True}
        made["response_format"] = {"type": "json_schema", "json_schema": schema}
    return made


def _system(fields: Mapping[str, Raw]) -> list[dict[str, Any]]:
    """One message, whose texts are joined: not every server takes a list here."""
    system = given(fields, "system", str | list[Block])  # type: ignore[arg-type]
    if not system:
        return []
    return [{"role": "system", "content": system if isinstance(system, str) else _text(system)}]


def _messages(turns: list[Message]) -> Iterator[dict[str, Any]]:
    if turns and turns[-1].role == "assistant":
        raise cannot("messages", "a chat would answer a last message of the assistant's, not go on with it")
    for turn in turns:
        blocks = [Block("text", text=turn.content)] if isinstance(turn.content, str) else turn.content
        if turn.role == "user":
            yield from _user(blocks)
        elif turn.role == "assistant":
            yield _assistant(blocks)
        elif turn.role == "system":
            yield {"role": "system", "content": _text(blocks)}
        else:
            raise cannot("messages", "a message's role must be user, assistant or system")


def _user(blocks: Iterable[Block]) -> Iterator[dict[str, Any]]:
    """Each result of a tool is a message of its own, and comes before what the user says beside it. A picture in a
    result follows there: a tool's message holds text alone."""
    said: list[dict[str, Any]] = []
    for block in blocks:
        if block.type != "tool_result":
            said.append(_part(block))
            continue
        inner = [Block("text", text=block.content)] if isinstance(block.content, str) else block.content or []
        texts, others = [one for one in inner if one.type == "text"], [one for one in inner if one.type != "text"]
        failed = _FAILED if block.is_error else ""
        yield {"role": "tool", "tool_call_id": block.tool_use_id, "content": failed + _text(texts)}
        if others:
            said += [{"type": "text", "text": f"With the result of {block.tool_use_id}:"}, *map(_part, others)]
    if said:
        alone = len(said) == 1 and said[0]["type"] == "text"
        yield {"role": "user", "content": said[0]["text"] if alone else said}


def _part(block: Block) -> dict[str, Any]:
    if block.type == "text":
        return {"type": "text", "text": block.text}
    if block.type in ("image", "document"):
        return pictures.part(block)
    raise cannot("messages", f"a block of type {block.type} has no counterpart in chat/completions")


def _assistant(blocks: Iterable[Block]) -> dict[str, Any]:
    """Without its thinking: whoever wrote it, nobody else can check its signature."""
    texts: list[str] = []
    calls: list[dict[str, Any]] = []
    for block in blocks:
        if block.type == "text":
            texts.append(block.text)
        elif block.type == "tool_use":
            function = {"name": block.name, "arguments": bytes(block.input).decode()}
            calls.append({"id": block.id, "type": "function", "function": function})
        elif block.type not in ("thinking", "redacted_thinking"):
            raise cannot("messages", f"a block of type {block.type} has no counterpart in chat/completions")
    made: dict[str, Any] = {"role": "assistant", "content": "".join(texts) or (None if calls else "")}
    return {**made, "tool_calls": calls} if calls else made


def _text(blocks: Iterable[Block]) -> str:
    odd = next((block.type for block in blocks if block.type != "text"), None)
    if odd is not None:
        raise cannot("messages", f"a block of type {odd} must not stand here")
    return "\n".join(block.text for block in blocks)
