"""Answers of our own: complete JSON bodies, and errors in the shape the caller's SDK expects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from gateway.edge.calls import Call
from gateway.errors import GatewayError, RequestTooLarge

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
JSON: Headers = [(b"content-type", b"application/json")]


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
