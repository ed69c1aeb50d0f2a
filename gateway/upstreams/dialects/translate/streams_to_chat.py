"""The stream of Anthropic's Messages as one of chat completion chunks, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from gateway.errors import BadAnswer
from gateway.model import Usage
from gateway.upstreams.dialects.anthropic import Tally
from gateway.upstreams.dialects.translate import errors, reasons, usages
from gateway.upstreams.dialects.translate.shapes import Block, told, words
from gateway.upstreams.sse import data_of, split

_ALIVE = b": ping\n\n"
"""A comment: it keeps the connection as busy as the upstream does, and SDKs pass it over."""
_DONE = b"data: [DONE]\n\n"
_UNSAID = 500


class _Delta(msgspec.Struct):
    type: str = ""
    text: str = ""
    thinking: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class _Started(msgspec.Struct):
    id: str = ""
    model: str = ""
    usage: Any = None


class _Event(msgspec.Struct):
    type: str = ""
    index: int = 0
    message: _Started | None = None
    content_block: Block | None = None
    delta: _Delta | None = None
    usage: Any = None


_event = msgspec.json.Decoder(_Event)


class ToChat:
    """Of one stream. It holds which tool call each open block is, and the usage so far: nothing of what was said."""

    def __init__(self, created: int, *, include_usage: bool) -> None:
        """`created`: seconds since the epoch."""
        self._created, self._include_usage = created, include_usage
        self._id = self._model = ""
        self._begun = self._ended = self._over = False
        self._calls = 0
        self._open: dict[int, tuple[int, bool]] = {}
        """Block -> the call that it is, and whether any of its arguments came."""
        self._tally = Tally()
        self._usage: Usage | None = None

    def feed(self, frames: bytes) -> bytes:
        """Whole frames in, whole frames out. Raises BadAnswer for what is not as the API has it."""
        return b"".join([self._frame(data) for frame in split(frames) if (data := data_of(frame))])

    def end(self) -> bytes:
        """What is still to be said when the upstream has closed. Raises BadAnswer where it told no end."""
        if self._over:
            return b""
        if not self._ended:
            raise BadAnswer("the stream ended in the middle of the answer")
        return self._close()

    def _frame(self, data: bytes) -> bytes:
        if self._over or data == b"[DONE]":  # vLLM sends it behind Anthropic's own end
            return b""
        event = told(_event, data)
        handle = _HANDLERS.get(event.type)
        return b"" if handle is None else handle(self, event, data)

    def _start(self, event: _Event, _: bytes) -> bytes:
        if event.message is None:
            raise BadAnswer("a stream that begins without a message")
        self._id, self._model, self._begun = event.message.id, event.message.model, True
        self._usage = self._tally.take(event.message.usage)
        return self._chunk({"role": "assistant", "content": ""})

    def _block(self, event: _Event, _: bytes) -> bytes:
        block = event.content_block
        if block is None or block.type not in ("tool_use", "text"):
            return b""
        if block.type == "text":
            return self._chunk({"content": block.text}) if block.text else b""
        call, self._calls = self._calls, self._calls + 1
        arguments = words(block.input)
        whole = arguments.strip() not in ("", "{}", "null")
        self._open[event.index] = call, whole
        function = {"name": block.name, "arguments": arguments if whole else ""}
        return self._chunk({"tool_calls": [{"index": call, "id": block.id, "type": "function", "function": function}]})

    def _delta(self, event: _Event, _: bytes) -> bytes:
        delta = event.delta or _Delta()
        if delta.type == "text_delta":
            return self._chunk({"content": delta.text})
        if delta.type == "thinking_delta":
            return self._chunk({"reasoning_content": delta.thinking}) if delta.thinking else b""
        if delta.type != "input_json_delta" or not delta.partial_json or event.index not in self._open:
            return b""
        return self._arguments(event.index, delta.partial_json)

    def _arguments(self, block: int, piece: str) -> bytes:
        call = self._open[block][0]
        self._open[block] = call, True
        return self._chunk({"tool_calls": [{"index": call, "function": {"arguments": piece}}]})

    def _stop(self, event: _Event, _: bytes) -> bytes:
        """A call without arguments says nothing here, and `{}` in a chat."""
        said = self._open.get(event.index, (0, True))[1]
        made = b"" if said else self._arguments(event.index, "{}")
        self._open.pop(event.index, None)
        return made

    def _message(self, event: _Event, _: bytes) -> bytes:
        self._usage = self._tally.take(event.usage) or self._usage
        if self._ended or event.delta is None or event.delta.stop_reason is None:
            return b""
        self._ended = True
        return self._chunk({}, reasons.for_chat(event.delta.stop_reason))

    def _last(self, _event: _Event, _data: bytes) -> bytes:
        return self._close()

    def _close(self) -> bytes:
        self._over = True
        made = b"" if self._ended else self._chunk({}, "stop")
        if self._include_usage and self._usage is not None:
            made += self._data([], usages.for_chat(self._usage))
        return made + _DONE

    def _alive(self, _event: _Event, _data: bytes) -> bytes:
        return _ALIVE if self._begun else b""

    def _error(self, _: _Event, data: bytes) -> bytes:
        self._over = True
        return b"data: " + errors.for_chat(_UNSAID, data) + b"\n\n"

    def _chunk(self, delta: Mapping[str, Any], finish: str | None = None) -> bytes:
        return self._data([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}], None)

    def _data(self, choices: list[dict[str, Any]], usage: dict[str, Any] | None) -> bytes:
        made: dict[str, Any] = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }
        if self._include_usage:
            made["usage"] = usage
        return b"data: " + msgspec.json.encode(made) + b"\n\n"


_HANDLERS: Mapping[str, Callable[[ToChat, _Event, bytes], bytes]] = {
    "message_start": ToChat._start,
    "content_block_start": ToChat._block,
    "content_block_delta": ToChat._delta,
    "content_block_stop": ToChat._stop,
    "message_delta": ToChat._message,
    "message_stop": ToChat._last,
    "ping": ToChat._alive,
    "error": ToChat._error,
}
"""Events by type; one that came later than this table is passed over."""
