"""The way back: an upstream's answer to the client, chunk by chunk where it is a stream, whole where it is not."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from gateway.edge.account import Account, cost_of
from gateway.edge.replies import Headers, Send
from gateway.errors import BadAnswer, Reset, UpstreamFailed, UpstreamFault
from gateway.model import Usage
from gateway.routing.estimate import prompt_tokens
from gateway.routing.learn import BYTES_PER_TOKEN
from gateway.upstreams.client import TooLong, read_all
from gateway.upstreams.dialects import openai
from gateway.upstreams.dialects.endpoint import Endpoint
from gateway.upstreams.dialects.surface import ENDPOINTS
from gateway.upstreams.http1 import Exchange
from gateway.upstreams.sse import Tap

ERROR_BODY_BYTES = 64 << 10
EVENTS, JSON_TYPE = b"text/event-stream", b"application/json"
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
    kind = dict(down).get(b"content-type", b"").partition(b";")[0].strip().lower()
    if exchange.status < 300 and (kind not in (EVENTS, JSON_TYPE) or b"content-encoding" in dict(exchange.headers)):
        raise BadAnswer(f"answered {exchange.status} with something that is neither JSON nor a stream of events")
    endpoint = ENDPOINTS[account.request.endpoint]
    if exchange.status == 200 and kind == EVENTS:
        return await _stream(endpoint, exchange, account, down, front, send)
    await _whole(endpoint, exchange, account, down, front, send, most)
    return None


async def _whole(
    endpoint: Endpoint,
    exchange: Exchange,
    account: Account,
    down: Headers,
    front: Callable[[], Headers],
    send: Send,
    most: int,
) -> None:
    """Held back until complete: so it can still be retried, and its cost is in its headers."""
    try:
        body = await read_all(exchange, most)
    except TooLong:  # the request's doing, not the upstream's: another would write as much
        raise UpstreamFailed(f"the answer has more than {most} bytes; ask for a stream", retry=False) from None
    account.first_byte = account.last_byte = time.monotonic()
    if exchange.status < 400:
        account.usage = endpoint.usage_of(body) or _estimated(account, round(len(body) / BYTES_PER_TOKEN))
        account.cost = cost_of(account.lease, account.usage) if account.lease is not None else None
    length = (b"content-length", b"%d" % len(body))
    headers = [*down, length, *front()]
    await send({"type": "http.response.start", "status": exchange.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _stream(
    endpoint: Endpoint,
    exchange: Exchange,
    account: Account,
    down: Headers,
    front: Callable[[], Headers],
    send: Send,
) -> UpstreamFault | None:
    """Frames leave as they come. The head waits for the first of them: until then another upstream can be asked."""
    tap = Tap(endpoint.events, drop_usage=endpoint.asks_usage and not account.request.include_usage)
    piece = tap.feed(await exchange.read())
    while not piece and (raw := await exchange.read()):
        piece = tap.feed(raw)
    if tap.failed:
        raise BadAnswer("answered with an error event")
    account.first_byte = time.monotonic()
    await send({"type": "http.response.start", "status": exchange.status, "headers": [*down, *front()]})
    broke: UpstreamFault | None = None
    try:
        while True:
            if piece:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            if tap.failed:
                account.fail(UpstreamFailed("the upstream ended the stream with an error event"))
                broke = BadAnswer("an error event in the stream")
                break
            raw = await exchange.read()
            if not raw:
                if not tap.done and _ends_by_closing(exchange):
                    raise Reset("the connection closed before the stream said its end")
                account.last_byte = time.monotonic()
                break
            piece = tap.feed(raw)
        if rest := tap.rest():
            await send({"type": "http.response.body", "body": rest, "more_body": True})
    except UpstreamFault as fault:
        if tap.done:  # it was all there: what broke is only the connection
            account.last_byte = time.monotonic()
        else:
            broke = fault
            await _break_off(endpoint, fault, account, tap, send)
    finally:
        account.usage = _told(account, tap)
    await send(dict(_END))
    return broke


async def _break_off(endpoint: Endpoint, fault: UpstreamFault, account: Account, tap: Tap, send: Send) -> None:
    """A stream that fails after its first byte ends with an error event at a frame boundary, not with its own end."""
    error = UpstreamFailed(f"the answer broke off: {fault.message}")
    account.fail(error)
    event = endpoint.error_event(error, account.request.id, tap.last)
    await send({"type": "http.response.body", "body": (b"\n\n" if tap.torn else b"") + event, "more_body": True})


def _told(account: Account, tap: Tap) -> Usage:
    """The stream's own figures. Where it broke off after it told them, what came since counts too, as a guess."""
    if tap.usage is None:
        return _estimated(account, tap.frames)
    if tap.done or not tap.outdated:
        return tap.usage
    return replace(tap.usage, output_tokens=max(tap.usage.output_tokens, tap.frames), estimated=True)


def _ends_by_closing(exchange: Exchange) -> bool:
    """Whether only the end of the connection ends this body: then its end alone does not tell that it is whole."""
    names = {name for name, _ in exchange.headers}
    return b"content-length" not in names and b"transfer-encoding" not in names


def _estimated(account: Account, output_tokens: int) -> Usage:
    """Where the upstream told no usage: the prompt by its bytes,
    the output by what passed (a frame is about a token)."""
    written = 0 if account.request.max_tokens == 0 else output_tokens
    return Usage(prompt_tokens(account.request), written, estimated=True)
