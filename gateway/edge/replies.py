"""Answers of our own: complete JSON bodies, and errors in the shape the caller's SDK expects."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from gateway.edge.calls import Call
from gateway.errors import GatewayError, RequestTooLarge

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
JSON: Headers = [(b"content-type", b"application/json")]
LINGER_SECONDS, LINGER_BYTES = 1.0, 16 << 20
"""How long, and for how much, a caller that is still sending is listened to after its answer."""


def error_body(error: GatewayError) -> bytes:
    """OpenAI's shape."""
    shown = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    return msgspec.json.encode({"error": shown})


def error_event(error: GatewayError) -> bytes:
    """The last event of a stream that fails after its first byte."""
    return b"data: " + error_body(error) + b"\n\n"


def error_headers(error: GatewayError) -> Headers:
    headers = list(JSON)
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    if error.retry is not None:
        headers.append((b"x-should-retry", b"true" if error.retry else b"false"))
    if isinstance(error, RequestTooLarge):
        headers.append((b"connection", b"close"))  # the rest of the body is not worth reading
    return headers


def identity(call: Call) -> Headers:
    """Who answered: our id, and the caller's own beside it."""
    headers = [(b"x-request-id", call.id.encode())]
    if call.client_id is not None:
        headers.append((b"x-client-request-id", call.client_id.encode()))
    return headers


async def reply(send: Send, status: int, headers: Headers, body: bytes) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def reply_error(send: Send, call: Call, error: GatewayError, more: Headers | None = None) -> None:
    await reply(send, error.status, [*error_headers(error), *identity(call), *(more or [])], error_body(error))


async def refuse_upload(send: Send, receive: Receive, call: Call, error: RequestTooLarge) -> None:
    """Answers a caller that is still sending, and then drops what comes for a moment before the connection is closed.

    Closing on unread bytes makes the kernel send a reset, which can overtake the answer.
    """
    body = error_body(error)
    length = (b"content-length", b"%d" % len(body))
    headers = [*error_headers(error), *identity(call), length]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            await _drop(receive)
    await send({"type": "http.response.body", "body": b""})


async def _drop(receive: Receive) -> None:
    """Returns when the caller has sent all, has left, or has sent too much."""
    left = LINGER_BYTES
    while left > 0:
        message = await receive()
        if not message.get("more_body", False):
            return
        left -= len(message["body"])
