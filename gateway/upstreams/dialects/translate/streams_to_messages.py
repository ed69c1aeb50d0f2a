"""A stream of chat completion chunks as one of Anthropic's Messages, frame by frame."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from gateway.errors import BadAnswer
from gateway.model import Usage
from gateway.upstreams.dialects.openai import usage_in
from gateway.upstreams.dialects.translate import errors, reasons, usages
from gateway.upstreams.dialects.translate.answers_to_messages import matched
from gateway.upstreams.dialects.translate.shapes import told
from gateway.upstreams.sse import data_of, split

_DONE = b"[DONE]"
_UNSAID = 500
_TEXT, _THINKING = -1, -2
"""What an open block holds that is no tool call; a call has its index."""


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None
    stop_reason: Any = None
    matched_stop: Any = None


class _Chunk(msgspec.Struct):
    id: str = ""
    model: str = ""
    choices: list[_Choice] = []
    usage: Any = None
    error: Any = None


_chunk = msgspec.json.Decoder(_Chunk)


class ToMessages:
    """Of one stream. It holds which blocks are open, why the answer ended, and the usage: nothing of what was said.

    Blocks of tool calls stay open until text follows or the answer ends: pieces of calls may come in any order.
    """

    def __init__(self, stops: Collection[str], *, thinking: bool) -> None:
        """`stops`: the caller's stop sequences; `thinking`: whether it wants to see any."""
        self._stops, self._thinking = stops, thinking
        self._begun = self._over = self._called = self._refused = False
        self._blocks = 0
        self._open: dict[int, int] = {}
        """What it holds -> the number of the block."""
        self._finish: str | None = None
        self._matched: str | None = None
        self._usage: Usage | None = None

    def feed(self, frames: bytes) -> bytes:
        """Whole frames in, whole frames out. Raises BadAnswer for what is not as the API has it."""
        return b"".join([self._frame(data) for frame in split(frames) if (data := data_of(frame))])

    def end(self) -> bytes:
        """What is still to be said when the upstream has closed. Raises BadAnswer where it told no end."""
        if self._over:
            return b""
        if self._finish is None:
            raise BadAnswer("the stream ended in the middle of the answer")
        return self._close()

    def _frame(self, data: bytes) -> bytes:
        if self._over:
            return b""
        if data == _DONE:
            return self._close()
        chunk = told(_chunk, data)
        if chunk.error is not None:
            self._over = True
            return _named("error", errors.for_messages(_UNSAID, data))
        made = b"" if self._begun or not chunk.choices else self._start(chunk)
        self._usage = usage_in(chunk.usage) or self._usage
        for choice in chunk.choices:
            if choice.index == 0:
                made += self._choice(choice)
        return made

    def _start(self, chunk: _Chunk) -> bytes:
        self._begun = True
        message = {"id": chunk.id, "type": "message", "role": "assistant", "model": chunk.model, "content": []}
        ends: dict[str, Any] = {"stop_reason": None, "stop_sequence": None, "usage": usages.UNTOLD}
        return _event("message_start", message=message | ends)

    def _choice(self, choice: _Choice) -> bytes:
        delta, made = choice.delta, b""
        thoughts = delta.reasoning_content or delta.reasoning
        if thoughts and self._thinking:
            made += self._say(_THINKING, {"type": "thinking_delta", "thinking": thoughts})
        if delta.refusal:
            self._refused = True
        if delta.content or delta.refusal:
            made += self._say(_TEXT, {"type": "text_delta", "text": delta.content or delta.refusal})
        for call in delta.tool_calls or ():
            made += self._call(call)
        if choice.finish_reason is not None:
            self._finish = choice.finish_reason
            self._matched = matched(self._stops, choice.stop_reason, choice.matched_stop)
        return made

    def _say(self, kind: int, delta: dict[str, Any]) -> bytes:
        made = b""
        if kind not in self._open:
            empty = (
                {"type": "text", "text": ""} if kind == _TEXT else {"type": "thinking", "thinking": "", "signature": ""}
            )
            made = self._shut() + self._begin(kind, empty)
        return made + _event("content_block_delta", index=self._open[kind], delta=delta)

    def _call(self, call: _Call) -> bytes:
        function, made = call.function or _Function(), b""
        if call.index < 0:
            raise BadAnswer("a tool call without a place")
        if call.index not in self._open:
            if not function.name:
                raise BadAnswer("a piece of a tool call that never began")
            if self._open.keys() & {_TEXT, _THINKING}:
                made = self._shut()
            self._called = True
            use = {"type": "tool_use", "id": call.id or "", "name": function.name, "input": {}}
            made += self._begin(call.index, use)
        if not function.arguments:
            return made
        delta = {"type": "input_json_delta", "partial_json": function.arguments}
        return made + _event("content_block_delta", index=self._open[call.index], delta=delta)

    def _begin(self, kind: int, block: dict[str, Any]) -> bytes:
        number, self._blocks = self._blocks, self._blocks + 1
        self._open[kind] = number
        return _event("content_block_start", index=number, content_block=block)

    def _shut(self) -> bytes:
        """All blocks that are open."""
        numbers = list(self._open.values())
        self._open.clear()
        return b"".join([_event("content_block_stop", index=number) for number in numbers])

    def _close(self) -> bytes:
        self._over = True
        if not self._begun:
            raise BadAnswer("the stream ended without an answer")
        finish = "content_filter" if self._refused else self._finish
        reason, sequence = reasons.for_messages(finish, called=self._called, matched=self._matched)
        usage = usages.UNTOLD if self._usage is None else usages.for_messages(self._usage)
        delta = {"stop_reason": reason, "stop_sequence": sequence}
        return self._shut() + _event("message_delta", delta=delta, usage=usage) + _event("message_stop")


def _event(kind: str, **more: Any) -> bytes:
    return _named(kind, msgspec.json.encode({"type": kind, **more}))


def _named(kind: str, data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)
