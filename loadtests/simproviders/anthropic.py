"""Anthropic's Messages as the API itself is: its key and version headers, its strictness, its events, its errors.

What it says is set beforehand (`content`), so that a test knows every word of it; faults are set the same way::

    with listening(Anthropic()) as sim:
        sim.url                                     # http://127.0.0.1:PORT/v1
        sim.api.content = [{"type": "text", "text": "hello"}]
        sim.api.faults.append(Fault(status=529))    # of the next request
        sim.api.seen[-1].body                       # what came

Written from the API's documents and the SDK's types, and leaning on nothing of the gateway.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

from loadtests.simfleet.exchange import ClientGone, Exchange, SimProtocol

KEY = "sk-ant-simulated"
START_S = 10.0
PIECE = 7
"""Characters of text, or of a tool's input, in one delta."""
FIELDS = frozenset(
    {
        *("model", "max_tokens", "messages", "system", "stop_sequences", "stream", "tools", "tool_choice", "thinking"),
        *("metadata", "service_tier", "speed", "cache_control", "container", "output_config", "inference_geo"),
        *("temperature", "top_p", "top_k", "context_management", "mcp_servers"),
    }
)
VERSIONS = ("2023-06-01", "2026-10-21")
USAGE: Mapping[str, Any] = {
    "input_tokens": 11,
    "cache_creation_input_tokens": 5,
    "cache_read_input_tokens": 20,
    "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 1,
    "service_tier": "standard",
}
"""As told at the beginning."""
OUTPUT_TOKENS = 42
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one request. `*_after`: events."""

    status: int | None = None
    retry_after: float | None = None
    cut_after: int | None = None
    """The connection is reset."""
    close_after: int | None = None
    """The stream ends, well framed, in its middle."""
    error_after: int | None = None
    """An `overloaded_error` comes as an event. Each of the three waits for `Anthropic.heard`."""


@dataclass(frozen=True, slots=True)
class Seen:
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]


class Wrong(Exception):
    def __init__(self, status: int, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers


@dataclass(slots=True)
class Anthropic:
    """One account. An ASGI application on simfleet's connection."""

    content: list[dict[str, Any]] = field(default_factory=lambda: [{"type": "text", "text": "one two three"}])
    stop_reason: str = "end_turn"
    stop_sequence: str | None = None
    faults: list[Fault] = field(default_factory=list)
    """Of the next requests."""
    seen: list[Seen] = field(default_factory=list)
    heard: threading.Event = field(default_factory=threading.Event)
    """Set by the test that has all that came before its fault."""

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send)
        with contextlib.suppress(ClientGone):
            raw = await exchange.body()
            try:
                await self._answer(exchange, raw)
            except Wrong as wrong:
                shown = {"type": _TYPES[wrong.status], "message": wrong.message}
                body = {"type": "error", "error": shown, "request_id": f"req_{len(self.seen)}"}
                await exchange.reply(wrong.status, body, wrong.headers)

    async def _answer(self, exchange: Exchange, raw: bytes) -> None:
        headers = {name.decode(): value.decode() for name, value in exchange.headers.items()}
        if headers.get("x-api-key") != KEY:
            raise Wrong(401, "invalid x-api-key")
        if headers.get("anthropic-version") not in VERSIONS:
            raise Wrong(400, "anthropic-version: header is required")
        if exchange.path not in ("/v1/messages", "/v1/messages/count_tokens") or exchange.method != "POST":
            raise Wrong(404, "Not Found")
        body = json.loads(raw)
        self.seen.append(Seen(exchange.path, headers, body))
        fault = self.faults.pop(0) if self.faults else Fault()
        if fault.status is not None:
            wait = fault.retry_after
            raise Wrong(fault.status, "Simulated", () if wait is None else ((b"retry-after", b"%d" % wait),))
        if exchange.path.endswith("count_tokens"):
            await exchange.reply(200, {"input_tokens": 17})
            return
        check(body)
        if not body.get("stream"):
            await exchange.reply(200, self._message(body["model"], self.content, self.stop_reason, OUTPUT_TOKENS))
            return
        await exchange.start([(b"request-id", b"req_1")])
        for number, (kind, event) in enumerate(self._events(body["model"])):
            if number in (fault.cut_after, fault.close_after, fault.error_after):
                await asyncio.to_thread(self.heard.wait, START_S)
            if number in (fault.cut_after, fault.close_after):
                break
            if number == fault.error_after:
                _write(exchange, "error", {"error": {"type": "overloaded_error", "message": "Overloaded"}})
                break
            _write(exchange, kind, event)
            await asyncio.sleep(0)
        if fault.cut_after is not None:
            exchange.connection.reset()
            await exchange.gone
        else:
            await exchange.end()

    def _message(self, model: str, content: list[dict[str, Any]], reason: str | None, output: int) -> dict[str, Any]:
        return {
            "id": f"msg_{len(self.seen):06d}",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": self.stop_sequence if reason else None,
            "usage": {**USAGE, "output_tokens": output},
        }

    def _events(self, model: str) -> Iterator[tuple[str, dict[str, Any]]]:
        yield "message_start", {"message": self._message(model, [], None, 1)}
        yield "ping", {}
        for index, block in enumerate(self.content):
            empty, deltas = _pieces(block)
            yield "content_block_start", {"index": index, "content_block": empty}
            for delta in deltas:
                yield "content_block_delta", {"index": index, "delta": delta}
            yield "content_block_stop", {"index": index}
        delta = {"stop_reason": self.stop_reason, "stop_sequence": self.stop_sequence}
        yield "message_delta", {"delta": delta, "usage": {"output_tokens": OUTPUT_TOKENS}}
        yield "message_stop", {}


def check(body: dict[str, Any]) -> None:
    """The API's own strictness, as far as a translation could break it. Raises Wrong."""
    odd = sorted(body.keys() - FIELDS)
    if odd:
        raise Wrong(400, f"{odd[0]}: Extra inputs are not permitted")
    if not isinstance(body.get("max_tokens"), int) or body["max_tokens"] < 1:
        raise Wrong(400, "max_tokens: Field required")
    if not 0 <= body.get("temperature", 1) <= 1:
        raise Wrong(400, "temperature: Input should be less than or equal to 1")
    if not body.get("messages"):
        raise Wrong(400, "messages: at least one message is required")
    calls: set[str] = set()
    for turn in body["messages"]:
        blocks = turn["content"] if isinstance(turn["content"], list) else [{"type": "text", "text": turn["content"]}]
        results = {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"}
        if turn["role"] == "user" and results != calls:
            raise Wrong(400, "messages: each `tool_use` block must have a corresponding `tool_result` block")
        if any(block["type"] == "text" and not block["text"] for block in blocks):
            raise Wrong(400, "messages: text content blocks must be non-empty")
        calls = {block["id"] for block in blocks if block["type"] == "tool_use"}
    for tool in body.get("tools", ()):
        if tool.get("input_schema", {}).get("type") != "object":
            raise Wrong(400, "tools.0.custom.input_schema.type: Field required")


def _pieces(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block as it begins, and its deltas."""
    if block["type"] == "tool_use":
        said = json.dumps(block["input"]) if block["input"] else ""
        kind, key, empty = "input_json_delta", "partial_json", {**block, "input": {}}
    elif block["type"] == "thinking":
        said, kind, key = block["thinking"], "thinking_delta", "thinking"
        empty = {"type": "thinking", "thinking": "", "signature": ""}
    else:
        said, kind, key, empty = block["text"], "text_delta", "text", {"type": "text", "text": ""}
    deltas = [{"type": kind, key: said[at : at + PIECE]} for at in range(0, len(said), PIECE)]
    if block["type"] == "thinking":
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    return empty, deltas


def _write(exchange: Exchange, kind: str, event: dict[str, Any]) -> None:
    exchange.write(b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **event}).encode()))


@dataclass(frozen=True, slots=True)
class Running:
    api: Anthropic
    url: str


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Not here: it runs in a thread."""
        yield


@contextlib.contextmanager
def listening(api: Anthropic) -> Iterator[Running]:
    """At a free port, in a thread of its own, until the block is left."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            api,
            http=SimProtocol,
            ws="none",
            lifespan="off",
            access_log=False,
            log_level="error",
            loop="asyncio",
        )
        server = _Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
        thread.start()
        deadline = time.monotonic() + START_S
        while not server.started:
            if time.monotonic() > deadline:
                raise TimeoutError("the simulated API did not start")
            time.sleep(0.005)
        try:
            yield Running(api, f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
        finally:
            server.should_exit = server.force_exit = True
            thread.join(START_S)
