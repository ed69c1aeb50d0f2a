"""The way back: an upstream's answer to the client, chunk by chunk where it is a stream, whole where it is not."""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.edge.account import Account, cost_of
from gateway.edge.replies import Headers, Send, error_event
from gateway.errors import UpstreamFailed, UpstreamFault
from gateway.model import Usage
from gateway.routing.estimate import BYTES_PER_TOKEN, prompt_tokens
from gateway.upstreams.client import read_all
from gateway.upstreams.dialects import openai
from gateway.upstreams.http1 import Exchange
from gateway.upstreams.sse import Tap

ERROR_BODY_BYTES = 64 << 10
_END = {"type": "http.response.body", "body": b"", "more_body": False}


async def read_some(exchange: Exchange) -> bytes:
    """Enough of a refusal to tell its code; a longer one is cut and its connection dropped."""
    body = b""
    while len(body) < ERROR_BODY_BYTES and (piece := await exchange.read()):
        body += piece
    return body[:ERROR_BODY_BYTES]


async def relay(
    exchange: Exchange, account: Account, front: Callable[[], Headers], send: Send, most: int
) -> UpstreamFault | None:
    """Passes the answer on. Raises UpstreamFault only while the client has seen nothing; gives back a later one."""
    down = [(name, value) for name, value in exchange.headers if name in openai.RESPONSE_HEADERS]
    is_events = dict(down).get(b"content-type", b"").startswith(b"text/event-stream")
    if exchange.status == 200 and is_events:
        return await _stream(exchange, account, down, front, send)
    await _whole(exchange, account, down, front, send, most)
    return None


async def _whole(
    exchange: Exchange, account: Account, down: Headers, front: Callable[[], Headers], send: Send, most: int
) -> None:
    """Held back until complete: so it can still be retried, and its cost is in its headers."""
    body = await read_all(exchange, most)
    account.first_byte = account.last_byte = time.monotonic()
    if exchange.status < 400:
        account.usage = openai.usage_of(body) or _estimated(account, round(len(body) / BYTES_PER_TOKEN))
        account.cost = cost_of(account.lease, account.usage) if account.lease is not None else None
    length = (b"content-length", b"%d" % len(body))
    headers = [*down, length, *front()]
    await send({"type": "http.response.start", "status": exchange.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _stream(
    exchange: Exchange, account: Account, down: Headers, front: Callable[[], Headers], send: Send
) -> UpstreamFault | None:
    """Frames leave as they come. The head waits for the first of them: until then another upstream can be asked."""
    tap = Tap(openai.usage_frame, drop_usage=not account.request.include_usage)
    piece = tap.feed(await exchange.read())
    while not piece and (raw := await exchange.read()):
        piece = tap.feed(raw)
    account.first_byte = time.monotonic()
    await send({"type": "http.response.start", "status": exchange.status, "headers": [*down, *front()]})
    broke: UpstreamFault | None = None
    try:
        while True:
            if piece:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            raw = await exchange.read()
            if not raw:
                account.last_byte = time.monotonic()
                break
            piece = tap.feed(raw)
        if rest := tap.rest():
            await send({"type": "http.response.body", "body": rest, "more_body": True})
    except UpstreamFault as fault:
        broke = fault
        await _break_off(fault, account, send, torn=tap.torn)
    finally:
        account.usage = tap.usage or _estimated(account, tap.frames)
    await send(dict(_END))
    return broke


async def _break_off(fault: UpstreamFault, account: Account, send: Send, *, torn: bool) -> None:
    """A stream that fails after its first byte ends with an error event at a frame boundary, and without `[DONE]`."""
    error = UpstreamFailed(f"the answer broke off: {fault.message}")
    account.fail(error)
    ending = b"\n\n" if torn else b""
    await send({"type": "http.response.body", "body": ending + error_event(error), "more_body": True})


def _estimated(account: Account, output_tokens: int) -> Usage:
    """Where the upstream told no usage: the prompt by its bytes,
    the output by what passed (a frame is about a token)."""
    return Usage(prompt_tokens(account.request), output_tokens, estimated=True)
