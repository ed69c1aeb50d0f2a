"""A chat/completions request in the words of Anthropic's Messages. What has no counterpart is refused by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from gateway.upstreams.dialects.figures import ODD_JSON
from gateway.upstreams.dialects.translate import pictures, tools
from gateway.upstreams.dialects.translate.shapes import (
    NULL,
    OBJECT,
    ChatMessage,
    ImageUrl,
    Part,
    ToolCall,
    cannot,
    given,
    raw,
)

HOTTEST = 1.0
"""Anthropic's `temperature` ends here, OpenAI's at 2."""
_SAME = frozenset({"top_p", "top_k", "speed", "stream"})
_TRANSLATED = frozenset(
    {
        *("model", "messages", "max_tokens", "max_completion_tokens", "stop", "temperature", "user", "service_tier"),
        *("tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort", "safety_identifier"),
    }
)
_HINTS = frozenset(
    {
        *("stream_options", "metadata", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
        *("store", "background", "priority", "kv_transfer_params", "cache_salt"),
    }
)
"""They change nothing in an answer, or a rule has had its say about them (`routing/fields.py`): left out."""
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "modalities": (["text"],),
    "verbosity": ("medium",),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "echo": (False,),
    "min_p": (0,),
    "repetition_penalty": (1,),
    "ignore_eos": (False,),
    "skip_special_tokens": (True,),
    "add_generation_prompt": (True,),
    "continue_final_message": (False,),
    "include_reasoning": (True,),
}
"""Fields that may be there with a value that means the same as leaving them out."""
_UNNAMED = frozenset({"tool", "function"})
"""Roles whose `name` says again which tool it was."""
_TIERS = {"auto": "auto", "default": "standard_only"}
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}


class _Schema(msgspec.Struct):
    schema: Raw = Raw(NULL)


class _Format(msgspec.Struct):
    type: str
    json_schema: _Schema | None = None


def to_messages(fields: Mapping[str, Raw]) -> dict[str, Raw]:
    """The request's fields, `max_tokens` only where the caller bounds the output. Raises InvalidRequest."""
    for name in fields:
        if name not in _TRANSLATED and name not in _SAME and name not in _HINTS:
            _must_mean_nothing(fields, name)
    made: dict[str, Any] = {name: fields[name] for name in _SAME if bytes(fields.get(name, NULL)) != NULL}
    made |= _conversation(given(fields, "messages", list[ChatMessage]) or [])
    made |= tools.for_messages(fields)
    made |= _sampling(fields)
    made |= _thinking(fields)
    user = given(fields, "safety_identifier", str) or given(fields, "user", str)
    if user is not None:
        made["metadata"] = {"user_id": user}
    tier = _TIERS.get(given(fields, "service_tier", str) or "")
    if tier is not None:
        made["service_tier"] = tier
    return {name: value if isinstance(value, Raw) else raw(value) for name, value in made.items()}


def _must_mean_nothing(fields: Mapping[str, Raw], name: str) -> None:
    value = given(fields, name, object)
    if value is not None and value not in _NEUTRAL.get(name, ()):
        raise cannot(name, "has no counterpart in Anthropic's Messages")


def _sampling(fields: Mapping[str, Raw]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    cap = given(fields, "max_completion_tokens", int) or given(fields, "max_tokens", int)
    if cap is not None:
        made["max_tokens"] = cap
    temperature = given(fields, "temperature", float)
    if temperature is not None:
        if not 0 <= temperature <= HOTTEST:
            raise cannot("temperature", "must be 0 to 1 where Anthropic's Messages are asked")
        made["temperature"] = fields["temperature"]
    stop = given(fields, "stop", str | list[str])  # type: ignore[arg-type]
    if stop:
        made["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    return made


def _thinking(fields: Mapping[str, Raw]) -> dict[str, Any]:
    """`thinking` and `output_config`. Adaptive, because only then a turn with tools may come back without its thinking
    blocks: a chat has no place for their signatures."""
    made: dict[str, Any] = {}
    config: dict[str, Any] = {}
    effort = given(fields, "reasoning_effort", str)
    if effort == "none":
        made["thinking"] = {"type": "disabled"}
    elif effort is not None:
        if effort not in _EFFORTS:
            raise cannot("reasoning_effort", f"must be none, {', '.join(_EFFORTS)}")
        made["thinking"], config["effort"] = {"type": "adaptive"}, _EFFORTS[effort]
    wanted = given(fields, "response_format", _Format)
    if wanted is not None and wanted.type != "text":
        if wanted.type != "json_schema" or wanted.json_schema is None:
            raise cannot(
                "response_format", f"{wanted.type} has no counterpart in Anthropic's Messages: use json_schema"
            )
        config["format"] = {"type": "json_schema", "schema": wanted.json_schema.schema}
    return {**made, "output_config": config} if config else made


def _conversation(messages: list[ChatMessage]) -> dict[str, Any]:
    """`system` of what comes before the first turn, and `messages`; instructions in the middle stay where they are."""
    first = next((at for at, one in enumerate(messages) if one.role not in ("system", "developer")), len(messages))
    if messages and messages[-1].role == "assistant":
        raise cannot("messages", "Anthropic would go on with a last message of the assistant's, not answer it")
    if any(one.name for one in messages if one.role not in _UNNAMED):
        raise cannot(
            "messages", "a message's `name`, who of several speaks, has no counterpart in Anthropic's Messages"
        )
    made: dict[str, Any] = {"messages": list(_turns(messages[first:]))}
    system = [text for one in messages[:first] for text in _texts(one.content)]
    if not system:
        return made
    alone = len(system) == 1
    return {**made, "system": system[0] if alone else [{"type": "text", "text": text} for text in system]}


def _turns(messages: Iterable[ChatMessage]) -> Iterator[dict[str, Any]]:
    """Results of tools that were called together go into one turn, as the API demands."""
    results: list[dict[str, Any]] = []
    for one in messages:
        if one.role == "tool":
            results.append(_result(one))
            continue
        if results:
            yield {"role": "user", "content": results}
            results = []
        yield _turn(one)
    if results:
        yield {"role": "user", "content": results}


def _turn(one: ChatMessage) -> dict[str, Any]:
    if one.role in ("system", "developer"):
        return {"role": "system", "content": "\n".join(_texts(one.content))}
    if one.role == "user":
        content = one.content
        return {"role": "user", "content": content if isinstance(content, str) else _blocks(content or [])}
    if one.role != "assistant":
        raise cannot("messages", f"a message of role {one.role} has no counterpart in Anthropic's Messages")
    if one.audio is not None or one.function_call is not None:
        raise cannot("messages", "audio and function_call have no counterpart in Anthropic's Messages")
    texts = [*_texts(one.content), *([one.refusal] if one.refusal else [])]
    if not one.tool_calls:
        return {"role": "assistant", "content": "".join(texts)}
    said = [{"type": "text", "text": text} for text in texts if text]
    return {"role": "assistant", "content": [*said, *map(_use, one.tool_calls)]}


def _use(call: ToolCall) -> dict[str, Any]:
    function = call.function
    if call.type != "function" or function is None:
        raise cannot("messages", f"a tool call of type {call.type} has no counterpart in Anthropic's Messages")
    arguments = function.arguments.strip().encode() or b"{}"
    try:
        OBJECT.decode(arguments)
    except ODD_JSON:
        raise cannot("messages", "the arguments of a tool call must be a JSON object") from None
    return {"type": "tool_use", "id": call.id, "name": function.name, "input": Raw(arguments)}


def _result(one: ChatMessage) -> dict[str, Any]:
    content = one.content if isinstance(one.content, str) else _blocks(one.content or [])
    return {"type": "tool_result", "tool_use_id": one.tool_call_id or "", "content": content}


def _blocks(parts: Iterable[Part]) -> list[dict[str, Any]]:
    return [_block(part) for part in parts if part.type != "text" or part.text]


def _block(part: Part) -> dict[str, Any]:
    if part.type == "text":
        return {"type": "text", "text": part.text}
    if part.type == "image_url" and part.image_url is not None:
        shown = part.image_url
        return pictures.picture_block(shown.url if isinstance(shown, ImageUrl) else shown)
    if part.type == "file" and part.file is not None:
        return pictures.document_block(part.file)
    raise cannot("messages", f"a part of type {part.type} has no counterpart in Anthropic's Messages")


def _texts(content: str | list[Part] | None) -> list[str]:
    """Of who may only write text."""
    if content is None or isinstance(content, str):
        return [content] if content else []
    odd = next((part.type for part in content if part.type not in ("text", "refusal")), None)
    if odd is not None:
        raise cannot("messages", f"only a user's message may hold a part of type {odd}")
    return [text for part in content if (text := part.text or part.refusal)]
