"""The endpoints whose streams have named events, /v1/responses and Anthropic's /v1/messages, and /v1/embeddings."""

from __future__ import annotations

import base64
import struct
import time
from typing import Any

import msgspec

from .framing import Framing
from .scripts import Script, ToolCall

DIMENSIONS = 8
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(data))


class Responses(Framing):
    """One output item: a message or a function call. Events are numbered; the last one holds the whole response."""

    def _prepare(self) -> None:
        self._script = self.scripts[0]
        self._tool = self._script if isinstance(self._script, ToolCall) else None
        self._item_id = f"{'fc' if self._tool else 'msg'}_{self.head.id}"
        self._number = 0

    def frames(self, choice: int, first: int, count: int, *, last: bool, closing: bool) -> bytes:
        made = self._opening() if first == 0 else b""
        kind = "response.function_call_arguments.delta" if self._tool else "response.output_text.delta"
        made += self._event(kind, self._place() | {"delta": self._script.piece(first, count)} | self._logprobs())
        return made + self._closing() if last else made

    def whole(self) -> bytes:
        return msgspec.json.encode(self._response(self._status()))

    def _opening(self) -> bytes:
        started = {"response": self._response("in_progress")}
        made = self._event("response.created", started) + self._event("response.in_progress", started)
        made += self._event("response.output_item.added", {"output_index": 0, "item": self._item("", "in_progress")})
        if self._tool is None:
            made += self._event("response.content_part.added", self._place() | {"part": _text_part("")})
        return made

    def _closing(self) -> bytes:
        text = self._script.piece(0, self._script.length)
        if self._tool is None:
            made = self._event("response.output_text.done", self._place() | {"text": text} | self._logprobs())
            made += self._event("response.content_part.done", self._place() | {"part": _text_part(text)})
        else:
            made = self._event("response.function_call_arguments.done", self._place() | {"arguments": text})
        status = self._status()
        made += self._event("response.output_item.done", {"output_index": 0, "item": self._item(text, status)})
        return made + self._event(f"response.{status}", {"response": self._response(status)})

    def _event(self, kind: str, more: dict[str, Any]) -> bytes:
        number, self._number = self._number, self._number + 1
        return event(kind, {"type": kind, "sequence_number": number, **more})

    def _place(self) -> dict[str, Any]:
        place = {"item_id": self._item_id, "output_index": 0}
        return place if self._tool else place | {"content_index": 0}

    def _logprobs(self) -> dict[str, Any]:
        return {} if self._tool else {"logprobs": []}

    def _status(self) -> str:
        return "incomplete" if self._script.finish == "length" else "completed"

    def _item(self, text: str, status: str) -> dict[str, Any]:
        shared = {"id": self._item_id, "status": status}
        if self._tool is not None:
            call = {"type": "function_call", "call_id": self._tool.call_id, "name": self._tool.name}
            return shared | call | {"arguments": text}
        content = [_text_part(text)] if text else []
        return shared | {"type": "message", "role": "assistant", "content": content}

    def _response(self, status: str) -> dict[str, Any]:
        over = status != "in_progress"
        return {
            "id": self.head.id,
            "object": "response",
            "created_at": int(time.time()),
            "model": self.head.model,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "output": [self._item(self._script.piece(0, self._script.length), status)] if over else [],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "store": self.body.store is not False,
            "usage": self._usage() if over else None,
        }

    def _counts(self) -> dict[str, Any]:
        prompt, completion = self.entry.prompt_tokens, self.entry.completion_tokens
        return {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": self.entry.cached_tokens, "cache_write_tokens": 0},
            "output_tokens": completion,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt + completion,
        }


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


class Messages(Framing):
    """One content block: text or a tool's use."""

    def frames(self, choice: int, first: int, count: int, *, last: bool, closing: bool) -> bytes:
        made = self._opening() if first == 0 else b""
        script = self.scripts[0]
        key, kind = ("partial_json", "input_json_delta") if isinstance(script, ToolCall) else ("text", "text_delta")
        made += _message_event("content_block_delta", index=0, delta={"type": kind, key: script.piece(first, count)})
        return made + self._closing(script) if last else made

    def whole(self) -> bytes:
        script = self.scripts[0]
        text = script.piece(0, script.length)
        block = self._block(text, msgspec.json.decode(text) if script.finish == "tool_calls" else {})
        return msgspec.json.encode(self._message([block], _STOP_REASONS[script.finish]))

    def _opening(self) -> bytes:
        start = _message_event("message_start", message=self._message([], None))
        return start + _message_event("content_block_start", index=0, content_block=self._block("", {}))

    def _closing(self, script: Script) -> bytes:
        delta = {"stop_reason": _STOP_REASONS[script.finish], "stop_sequence": None}
        made = _message_event("content_block_stop", index=0)
        made += _message_event("message_delta", delta=delta, usage=self._usage()) + _message_event("message_stop")
        return made + b"data: [DONE]\n\n" if self.flavour.done_after_messages else made

    def _block(self, text: str, arguments: Any) -> dict[str, Any]:
        script = self.scripts[0]
        if isinstance(script, ToolCall):
            return {"type": "tool_use", "id": script.call_id, "name": script.name, "input": arguments}
        return {"type": "text", "text": text}

    def _message(self, content: list[dict[str, Any]], reason: str | None) -> dict[str, Any]:
        usage = self._usage()
        if usage is not None and not content and self._told == "true":
            usage["output_tokens"] = 0
        return {
            "id": self.head.id,
            "type": "message",
            "role": "assistant",
            "content": content,
            "model": self.head.model,
            "stop_reason": reason,
            "stop_sequence": None,
            **({} if usage is None else {"usage": usage}),
        }

    def _counts(self) -> dict[str, Any]:
        return {"input_tokens": self.entry.prompt_tokens, "output_tokens": self.entry.completion_tokens}


def _message_event(kind: str, **more: Any) -> bytes:
    return event(kind, {"type": kind, **more})


class Embeddings(Framing):
    """A vector per input, told by its number; never streamed."""

    writes = False

    def frames(self, choice: int, first: int, count: int, *, last: bool, closing: bool) -> bytes:
        raise AssertionError("embeddings are not streamed")

    def whole(self) -> bytes:
        size = self.body.dimensions or DIMENSIONS
        data = [
            {"object": "embedding", "index": index, "embedding": self._vector([float(index + 1)] + [0.0] * (size - 1))}
            for index in range(len(self.scripts))
        ]
        usage = self._usage()
        told = {} if usage is None else {"usage": usage}
        return msgspec.json.encode({"object": "list", "data": data, "model": self.head.model, **told})

    def _counts(self) -> dict[str, Any]:
        return {"prompt_tokens": self.entry.prompt_tokens, "total_tokens": self.entry.prompt_tokens}

    def _vector(self, values: list[float]) -> list[float] | str:
        if self.body.encoding_format != "base64":
            return values
        return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
