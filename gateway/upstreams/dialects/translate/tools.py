"""Tool definitions, and which of them the model may or must use, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from gateway.upstreams.dialects.translate.shapes import NULL, cannot, given

_CUSTOM = (None, "custom")
_ANY_OBJECT = Raw(b'{"type":"object","properties":{}}')
_ANYTHING = (b"", NULL, b"{}")


class _Definition(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: Raw = Raw()
    strict: bool | None = None


class _ChatTool(msgspec.Struct):
    type: str = "function"
    function: _Definition | None = None


class _Named(msgspec.Struct):
    name: str


class _ChatChoice(msgspec.Struct):
    type: str
    function: _Named | None = None


class _Tool(msgspec.Struct):
    name: str
    type: str | None = None
    description: str | None = None
    input_schema: Raw = Raw()
    strict: bool | None = None


class _Choice(msgspec.Struct):
    type: str
    name: str = ""
    disable_parallel_tool_use: bool | None = None


def for_messages(fields: Mapping[str, Raw]) -> dict[str, Any]:
    """`tools` and `tool_choice` as Anthropic has them, from a chat request. Raises InvalidRequest."""
    tools = given(fields, "tools", list[_ChatTool])
    if not tools:
        return {}
    made: dict[str, Any] = {"tools": [_definition(tool) for tool in tools]}
    choice = _choice_for_messages(given(fields, "tool_choice", str | _ChatChoice))  # type: ignore[arg-type]
    if given(fields, "parallel_tool_calls", bool) is False:
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
        if choice["type"] == "none":
            del choice["disable_parallel_tool_use"]
    return made if choice is None else {**made, "tool_choice": choice}


def _definition(tool: _ChatTool) -> dict[str, Any]:
    function = tool.function
    if tool.type != "function" or function is None:
        raise cannot("tools", f"a tool of type {tool.type} has no counterpart in Anthropic's Messages")
    schema = _ANY_OBJECT if bytes(function.parameters) in _ANYTHING else function.parameters
    made: dict[str, Any] = {"name": function.name, "input_schema": schema}
    if function.description is not None:
        made["description"] = function.description
    return {**made, "strict": True} if function.strict else made


def _choice_for_messages(choice: str | _ChatChoice | None) -> dict[str, Any] | None:
    if choice is None:
        return None
    if isinstance(choice, _ChatChoice):
        if choice.type != "function" or choice.function is None:
            raise cannot("tool_choice", f"{choice.type} has no counterpart in Anthropic's Messages")
        return {"type": "tool", "name": choice.function.name}
    if choice not in ("auto", "none", "required"):
        raise cannot("tool_choice", "must be auto, none, required or one function")
    return {"type": "any" if choice == "required" else choice}


def for_chat(fields: Mapping[str, Raw]) -> dict[str, Any]:
    """`tools`, `tool_choice` and `parallel_tool_calls` of chat/completions, from Anthropic's. Raises InvalidRequest."""
    tools = given(fields, "tools", list[_Tool])
    if not tools:
        return {}
    made: dict[str, Any] = {"tools": [_function(tool) for tool in tools]}
    choice = given(fields, "tool_choice", _Choice)
    if choice is None:
        return made
    if choice.disable_parallel_tool_use:
        made["parallel_tool_calls"] = False
    if choice.type == "tool":
        return {**made, "tool_choice": {"type": "function", "function": {"name": choice.name}}}
    if choice.type not in ("auto", "any", "none"):
        raise cannot("tool_choice", "must be auto, any, none or one tool")
    return {**made, "tool_choice": "required" if choice.type == "any" else choice.type}


def _function(tool: _Tool) -> dict[str, Any]:
    if tool.type not in _CUSTOM:
        raise cannot("tools", f"{tool.type} runs at Anthropic and has no counterpart in chat/completions")
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.input_schema}
    if bytes(tool.input_schema) in _ANYTHING:
        function["parameters"] = _ANY_OBJECT
    if tool.description is not None:
        function["description"] = tool.description
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}
