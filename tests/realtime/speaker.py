"""A realtime server that answers as told: a stand-in for the far end of a session, on the real `websockets` server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Request, Response, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

USAGE = {
    "total_tokens": 150,
    "input_tokens": 100,
    "output_tokens": 50,
    "input_token_details": {"text_tokens": 20, "audio_tokens": 80, "cached_tokens": 10},
    "output_token_details": {"text_tokens": 10, "audio_tokens": 40},
}
DONE = {"type": "response.done", "event_id": "e2", "response": {"id": "r", "status": "completed", "usage": USAGE}}


@dataclass(slots=True)
class Session:
    """One as the far end saw it. `code`: with which it was closed."""

    speaker: int
    path: str
    headers: dict[str, str]
    subprotocols: list[str]
    heard: list[str | bytes] = field(default_factory=list)
    code: int | None = None


@dataclass(slots=True)
class Stage:
    """`refusals`: statuses of the next handshakes, 0 is none; `slow`: seconds that they take. All sessions that
    came."""

    refusals: list[int] = field(default_factory=list)
    slow: list[float] = field(default_factory=list)
    asked: int = 0
    """Handshakes that came."""
    sessions: list[Session] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)

    async def speak(self, number: int, socket: ServerConnection) -> None:
        request = socket.request
        assert request is not None
        offered = request.headers.get("sec-websocket-protocol", "")
        headers = {name.lower(): value for name, value in request.headers.raw_items()}
        session = Session(number, request.path, headers, [one.strip() for one in offered.split(",") if one])
        self.sessions.append(session)
        try:
            await socket.send(json.dumps({"type": "session.created", "event_id": "e0", "session": {"id": "s"}}))
            async for message in socket:
                session.heard.append(message)
                await _react(message, socket)
        except ConnectionClosed:
            pass
        session.code = socket.close_code

    async def refuse(self, socket: ServerConnection, _: Request) -> Response | None:
        self.asked += 1
        if self.slow:
            await asyncio.sleep(self.slow.pop(0))
        status = self.refusals.pop(0) if self.refusals else 0
        return socket.respond(HTTPStatus(status), '{"error":{"message":"no"}}') if status else None


async def _react(message: str | bytes, socket: ServerConnection) -> None:
    if isinstance(message, bytes):
        await socket.send(message)
        return
    event: dict[str, Any] = json.loads(message)
    match event["type"]:
        case "response.create":
            await socket.send(json.dumps({"type": "response.created", "event_id": "e1", "response": {"id": "r"}}))
            await socket.send(json.dumps(DONE))
        case "begin":
            await socket.send(json.dumps({"type": "response.created", "event_id": "e1", "response": {"id": "r"}}))
            for _ in range(event["deltas"]):
                await socket.send(json.dumps({"type": "response.output_audio.delta", "delta": "A" * 6_400}))
        case "spend":
            used = {"input_tokens": event["tokens"], "output_tokens": 0}
            await socket.send(json.dumps({**DONE, "response": {"id": "r", "usage": used}}))
        case "in pieces":
            text = json.dumps(DONE)
            await socket.send([text[:40], text[40:80], text[80:]])
        case "halting":

            async def halting() -> AsyncIterator[str]:
                yield '{"type":'
                await socket.recv()
                yield '"halting"}'

            await socket.send(halting())
        case "close":
            await socket.close(event["code"], event.get("reason", ""))
        case "die":
            socket.transport.abort()
        case "say":
            for _ in range(event["times"]):
                await socket.send("x" * event["size"])
        case "deaf":
            await asyncio.sleep(event["seconds"])
            sizes = [len(await socket.recv()) for _ in range(event["messages"])]
            await socket.send(json.dumps({"type": "heard", "size": sum(sizes)}))
        case _:
            await socket.send(message)


@contextlib.contextmanager
def speakers(count: int, tls: ssl.SSLContext | None = None) -> Iterator[Stage]:
    """They listen for as long as the block lasts; with `tls` at `wss://`."""
    stage, ready, stop = Stage(), threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    quiet = logging.getLogger("tests.realtime")
    quiet.setLevel(logging.CRITICAL)

    async def run() -> None:
        async with contextlib.AsyncExitStack() as stack:
            for number in range(count):

                async def handler(socket: ServerConnection, number: int = number) -> None:
                    await stage.speak(number, socket)

                server = await stack.enter_async_context(
                    serve(
                        handler,
                        "127.0.0.1",
                        0,
                        process_request=stage.refuse,
                        select_subprotocol=lambda _, offered: "realtime" if "realtime" in offered else None,
                        logger=quiet,
                        ssl=tls,
                        max_size=1 << 25,
                    )
                )
                stage.ports.append(server.sockets[0].getsockname()[1])
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    ready.wait()
    try:
        yield stage
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
