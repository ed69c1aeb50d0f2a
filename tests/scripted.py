"""Workers that always write the same text, can go on with it from anywhere, and break as told.

A small stand-in for a vLLM on a socket of its own, in a thread of the test: what it writes depends on its model alone,
so that an answer whose writer changed can be compared byte by byte with one whose writer did not.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

PIECES = ("The", " quick", " brown", ":", "\n\n", "fox", " jumps", " ünder", " a", " lazy", " 🐕", " dog", ".", " ")
"""Tokens, over and over: words with their space in front, and white space by itself, as tokenizers have them."""
NATURAL = 40
"""Tokens of an answer that nobody caps."""
PROMPT_TOKENS = 10
STEP_SECONDS = 0.002
PAGE = b"vllm:num_requests_running 0\nvllm:num_requests_waiting 0\nvllm:kv_cache_usage_perc 0\n"


def text(tokens: int) -> str:
    return "".join(PIECES[index % len(PIECES)] for index in range(tokens))


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one request. `*_after`: tokens."""

    die_after: int | None = None
    """The connection is reset."""
    hang_after: int | None = None
    fail_after: int | None = None
    """An error event comes, as when vLLM's engine dies under its server."""
    first_delay: float = 0.0
    """Seconds to the first token."""
    refuses: bool = False
    """Says 400 where it is to continue a message."""
    anew: bool = False
    """Begins the answer from its first word where it is to continue a message."""
    frame_tokens: int = 1
    odd: dict[str, Any] | None = None
    """Beside the content of its first delta."""


@dataclass(slots=True)
class Seen:
    """One request as it came, and how it ended: `whole`, `left` (the caller), `dead`, `error`."""

    worker: int
    path: str
    body: dict[str, Any]
    fault: Fault
    came: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    how: str = ""


@dataclass(slots=True)
class Play:
    """`faults` of the next requests, whichever worker they come to; all that came."""

    faults: list[Fault] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    @property
    def active(self) -> int:
        return sum(not one.ended for one in self.seen)


@dataclass(slots=True)
class Worker:
    """`port` is known once it listens."""

    number: int
    play: Play
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(
                    (line[15:] for line in head.lower().split("\r\n") if line.startswith("content-length:")), "0"
                )
                raw = await reader.readexactly(int(length))
                path = head.split(" ", 2)[1]
                if not head.startswith("POST"):
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n" + _sized(PAGE))
                    continue
                fault = self.play.faults.pop(0) if self.play.faults else Fault()
                seen = Seen(self.number, path, json.loads(raw), fault)
                self.play.seen.append(seen)
                await self._answer(seen, reader, writer)
        writer.close()

    async def _answer(self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gone = asyncio.ensure_future(reader.read(1))
        work = asyncio.ensure_future(self._write(seen, writer))
        await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            seen.how = "left"
        seen.ended = time.monotonic()
        gone.cancel()
        await asyncio.wait({gone, work})
        if seen.how in ("left", "dead"):
            writer.transport.abort()
            raise ConnectionResetError
        work.result()

    async def _write(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        body, seen.how = seen.body, "whole"
        if seen.fault.refuses and body.get("continue_final_message"):
            seen.how = "error"
            writer.write(
                b"HTTP/1.1 400 No\r\ncontent-type: application/json\r\n" + _sized(b'{"error":{"message":"no"}}')
            )
            return
        await asyncio.sleep(seen.fault.first_delay)
        if not body.get("stream"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + _sized(_whole(body, seen.path)))
            return
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        async for frame in self._frames(seen, writer):
            writer.write(b"%x\r\n%b\r\n" % (len(frame), frame))
            await writer.drain()
        if seen.how != "dead":
            writer.write(b"0\r\n\r\n")

    async def _frames(self, seen: Seen, writer: asyncio.StreamWriter) -> AsyncIterator[bytes]:
        body, fault, chat = seen.body, seen.fault, seen.path.endswith("chat/completions")
        before, rest, left = _rest_of({**body, "continue_final_message": False} if fault.anew else body, chat)
        head = {"id": f"cmpl-{id(seen)}", "object": "x", "created": int(time.time()), "model": body["model"]}

        def frame(choices: list[dict[str, Any]], **more: Any) -> bytes:
            return b"data: " + json.dumps({**head, "choices": choices, **more}).encode() + b"\n\n"

        if chat:
            delta = {"role": "assistant", "content": "", **(fault.odd or {})}
            yield frame([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}])
        for number in range(0, len(rest), fault.frame_tokens):
            if number == fault.die_after:
                seen.how = "dead"
                return
            if number == fault.hang_after:
                await asyncio.Event().wait()
            if number == fault.fail_after:
                seen.how = "error"
                yield b'data: {"error":{"message":"EngineCore died","code":500}}\n\n'
                return
            said = "".join(rest[number : number + fault.frame_tokens])
            last = number + fault.frame_tokens >= len(rest)
            finish = ("length" if left is not None and len(rest) >= left else "stop") if last else None
            content = {"delta": {"content": said}} if chat else {"text": said}
            yield frame([{"index": 0, **content, "logprobs": None, "finish_reason": finish}])
            await asyncio.sleep(STEP_SECONDS)
        if (body.get("stream_options") or {}).get("include_usage"):
            yield frame([], usage=_usage(before, len(rest)))
        yield b"data: [DONE]\n\n"


def _rest_of(body: dict[str, Any], chat: bool) -> tuple[int, list[str], int | None]:
    """Tokens that are there already, those still to write, and the cap on them."""
    given = ""
    if chat and body.get("continue_final_message"):
        assert body["add_generation_prompt"] is False
        assert body["messages"][-1]["role"] == "assistant"
        given = body["messages"][-1]["content"].rstrip()  # as chat templates do
    elif not chat:
        given = body["prompt"].removeprefix("hello")
    before = 0
    while len(text(before)) < len(given):
        before += 1
    assert text(before)[: len(given)] == given
    cap = body.get("max_completion_tokens") or body.get("max_tokens")
    most = NATURAL - before if cap is None else min(cap, NATURAL - before)
    pieces = [PIECES[index % len(PIECES)] for index in range(before, before + most)]
    return before, pieces, cap


def _usage(before: int, written: int) -> dict[str, int]:
    prompt = PROMPT_TOKENS + before
    return {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}


def _whole(body: dict[str, Any], path: str) -> bytes:
    _, rest, _ = _rest_of(body, path.endswith("chat/completions"))
    choice = {"index": 0, "message": {"role": "assistant", "content": "".join(rest)}, "finish_reason": "stop"}
    head = {"id": "x", "object": "chat.completion", "created": 1, "model": body["model"]}
    return json.dumps({**head, "choices": [choice], "usage": _usage(0, len(rest))}).encode()


def _sized(body: bytes) -> bytes:
    return b"content-length: %d\r\n\r\n%b" % (len(body), body)


@contextlib.contextmanager
def workers(count: int) -> Iterator[tuple[Play, list[Worker]]]:
    """They listen for as long as the block lasts."""
    play = Play()
    made = [Worker(number, play) for number in range(count)]
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def run() -> None:
        servers = [await asyncio.start_server(one.serve, "127.0.0.1", 0) for one in made]
        for one, server in zip(made, servers, strict=True):
            one.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        for server in servers:
            server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    ready.wait()
    try:
        yield play, made
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
