"""Answers of our own: complete JSON bodies, and errors in the shape the caller's SDK expects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gateway.edge.calls import Call
from gateway.edge.cycle import Cycle
from gateway.errors import GatewayError
from gateway.upstreams.dialects.surface import error_body, is_anthropic

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
JSON: Headers = [(b"content-type", b"application/json")]


AGAIN, NOT_AGAIN = (b"x-should-retry", b"true"), (b"x-should-retry", b"false")
"""What official SDKs obey; the second one also of whoever works on a job."""


def error_headers(error: GatewayError) -> Headers:
    headers = list(JSON)
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    if error.retry is not None:
        headers.append(AGAIN if error.retry else NOT_AGAIN)
    headers += error.headers
    return headers


def identity(call: Call) -> Headers:
    """Who answered: our id, where the caller's SDK looks for it, and the caller's own beside it."""
    headers = [(b"x-request-id", call.id.encode())]
    if is_anthropic(call.path):
        headers.append((b"request-id", call.id.encode()))
    if call.client_id is not None:
        headers.append((b"x-client-request-id", call.client_id.encode()))
    return headers


def reply_error(wire: Cycle, call: Call, error: GatewayError, more: Headers | None = None) -> None:
    body = error_body(call.path, error, call.id)
    wire.answer(error.status, [*error_headers(error), *identity(call), *(more or [])], body)
