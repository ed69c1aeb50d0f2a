"""What an answer will say, token by token, settled before it is generated: filler text, or one forced tool call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from .bodies import Function, GenBody

WORDS = (
    *("time", "step", "load", "work", "unit", "room", "path", "rule", "node", "core", "page", "disk", "rack", "fan"),
    *("link", "port", "flow", "wave", "tide", "peak", "mean", "tail", "gain", "loss", "cost", "rate", "mark", "note"),
)
TOOL_PIECE = 4
"""Characters of a tool call's arguments in one token."""
SCHEMA_DEPTH = 5


class Script(Protocol):
    """One choice's content. `length` is its output tokens, `finish` its finish_reason."""

    length: int
    finish: str

    def delta(self, first: int, count: int) -> bytes:
        """JSON of the streamed content for tokens first .. first+count-1."""

    def whole(self) -> dict[str, Any]:
        """The content of a complete answer, as fields of its choice."""

    def piece(self, first: int, count: int) -> str:
        """The bare text, or the bare arguments, of tokens first .. first+count-1."""


@dataclass(slots=True)
class Text:
    """Deterministic filler. `chat` False is the legacy completions shape."""

    length: int
    finish: str
    offset: int
    chat: bool
    cut: int = 0
    """Characters of its first word that were said already."""

    def piece(self, first: int, count: int) -> str:
        start = self.offset + first
        text = "".join(f"{WORDS[i % len(WORDS)]} " for i in range(start, start + count))
        return text if first else text[self.cut :]

    def delta(self, first: int, count: int) -> bytes:
        words = self.piece(first, count).encode()
        return b'{"content":"%b"}' % words if self.chat else b'"%b"' % words

    def whole(self) -> dict[str, Any]:
        text = self.piece(0, self.length)
        return {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}


@dataclass(slots=True)
class ToolCall:
    """One call of `name`; arguments cut off at `length` pieces when the token limit is shorter."""

    length: int
    finish: str
    name: str
    call_id: str
    arguments: str

    def piece(self, first: int, count: int) -> str:
        return self.arguments[first * TOOL_PIECE : (first + count) * TOOL_PIECE]

    def delta(self, first: int, count: int) -> bytes:
        function: dict[str, str] = {"arguments": self.piece(first, count)}
        call: dict[str, Any] = {"index": 0, "function": function}
        if first == 0:
            function["name"] = self.name
            call |= {"id": self.call_id, "type": "function"}
        return msgspec.json.encode({"tool_calls": [call]})

    def whole(self) -> dict[str, Any]:
        function = {"name": self.name, "arguments": self.piece(0, self.length)}
        call = {"id": self.call_id, "type": "function", "function": function}
        return {"message": {"role": "assistant", "content": None, "tool_calls": [call]}}


def write(body: GenBody, *, chat: bool, drawn: float, offset: int, cap: int, said: str = "") -> Script:
    """The script for one choice: `drawn` is the model's own length, `cap` the most tokens it may have, `said` the
    beginning of its text that is not to be said again."""
    function = body.forced_tool() if chat else None
    if function is not None:
        return _tool_call(function, offset, cap)
    done, cut = _spoken(said, offset)
    natural = cap if body.ignore_eos and body.limit is not None else max(1, round(drawn) - done)
    return Text(min(natural, cap), "length" if natural >= cap else "stop", offset + done, chat, cut)


def _spoken(said: str, offset: int) -> tuple[int, int]:
    """Whole tokens that `said` holds, and how many characters of the next."""
    tokens = length = 0
    while length + len(word := f"{WORDS[(offset + tokens) % len(WORDS)]} ") <= len(said):
        if not said.startswith(word, length):
            return len(said.split()), 0
        tokens, length = tokens + 1, length + len(word)
    rest = said[length:]
    return (tokens, len(rest)) if word.startswith(rest) else (len(said.split()), 0)


def _tool_call(function: Function, offset: int, cap: int) -> ToolCall:
    arguments = msgspec.json.encode(_example(function.parameters or {"type": "object"}, SCHEMA_DEPTH)).decode()
    natural = -(-len(arguments) // TOOL_PIECE)
    finish = "length" if natural > cap else "tool_calls"
    return ToolCall(min(natural, cap), finish, function.name, f"chatcmpl-tool-{offset:08x}", arguments)


def _example(schema: dict[str, Any], depth: int) -> Any:
    """A value of a JSON Schema's type; deep or unusual schemas get null."""
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object" and depth:
        fields = schema.get("properties") or {}
        return {name: _example(field, depth - 1) for name, field in fields.items() if isinstance(field, dict)}
    simple: dict[Any, Any] = {"string": "sim", "integer": 1, "number": 1.0, "boolean": True, "array": [], "object": {}}
    return simple.get(kind if isinstance(kind, str) else None)
