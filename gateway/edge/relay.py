"""The way back: an upstream's answer to the client, piece by piece where it is a stream, whole where it is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from gateway.edge import media_relay
from gateway.edge.account import CLIENT_STALLED, Account, Attempt
from gateway.edge.booking import cost_of
from gateway.edge.delivered import Delivered
from gateway.edge.metering import LAST_WORDS, believed, counted, heard, passed, surely, surely_in, unheard
from gateway.edge.replies import Headers
from gateway.edge.wire import Wire
from gateway.errors import (
    BadAnswer,
    GatewayError,
    NotContinued,
    Refused,
    Reset,
    ShuttingDown,
    UpstreamFailed,
    UpstreamFault,
    UpstreamTimeout,
)
from gateway.model import GenRequest, Learned, Usage
from gateway.upstreams import answers, missing
from gateway.upstreams.client import TooLong, read_all
from gateway.upstreams.dialects import openai
from gateway.upstreams.dialects.endpoint import Endpoint
from gateway.upstreams.dialects.surface import ENDPOINTS, restated
from gateway.upstreams.dialects.translate.table import Translation
from gateway.upstreams.http1 import Exchange
from gateway.upstreams.media_tap import MediaTap
from gateway.upstreams.sse import Tap

ERROR_BODY_BYTES = 64 << 10
OK, REFUSED = 200, 400
EVENTS, JSON_TYPE = b"text/event-stream", b"application/json"


async def read_some(exchange: Exchange) -> bytes:
    """Enough of a refusal to tell its code; a longer one is cut and its connection dropped."""
    body = b""
    while len(body) < ERROR_BODY_BYTES and (piece := await exchange.read()):
        body += piece
    return body[:ERROR_BODY_BYTES]


async def relay(
    exchange: Exchange,
    account: Account,
    attempt: Attempt,
    front: Callable[[], Headers],
    wire: Wire,
    *,
    most: int,
    delivered: Delivered | None = None,
    translation: Translation | None = None,
) -> UpstreamFault | None:
    """Passes the answer on. Raises UpstreamFault only while the client has seen nothing of it; gives back a later one.

    With `delivered` what the client gets is kept there. As long as somebody else could go on, a stream that breaks off
    is left without an end: whoever has nobody to go on ends it (`end_broken`). `translation`: the upstream speaks other
    words than the caller; what it used is read in its own.
    """
    down = [(name, value) for name, value in exchange.headers if name in openai.RESPONSE_HEADERS]
    kind = dict(down).get(b"content-type", b"").partition(b";")[0].strip().lower()
    if b"content-encoding" in dict(exchange.headers):
        raise BadAnswer(f"answered {exchange.status} in a content coding that was not asked for")
    endpoint = ENDPOINTS[account.request.endpoint]

    def head() -> Headers:
        return [*down, *front()]

    if exchange.status == OK and endpoint.sound and media_relay.is_sound(kind):
        return await media_relay.sound(exchange, account, attempt, head, wire)
    if exchange.status < 300 and kind not in (EVENTS, JSON_TYPE, *endpoint.kinds):
        raise BadAnswer(f"answered {exchange.status} with something that is neither JSON nor a stream of events")
    if exchange.status == OK and kind == EVENTS:
        return await Stream(exchange, account, attempt, head, wire, delivered, translation).run()
    if exchange.status < 300 and endpoint.asks is not None:
        return await media_relay.whole(exchange, account, attempt, head, wire, most=most)
    if delivered is not None and delivered.going_on:
        raise NotContinued(f"answered {exchange.status} when it was to go on with a stream")
    attempt.streamed = False
    body = await _whole(exchange, account, attempt, most, translation)
    if attempt.on_end is not None:
        attempt.on_end()
    if exchange.status >= REFUSED and translation is not None:
        down, body = [(b"content-type", JSON_TYPE)], translation.error(exchange.status, body)
    elif exchange.status >= REFUSED and _ours(account):
        other = restated(endpoint.path, exchange.status, body)
        if other is not None:
            down, body = [(b"content-type", JSON_TYPE)], other
    wire.answer(exchange.status, head(), body)
    return None


def _ours(account: Account) -> bool:
    return account.lease is not None and account.lease.candidate.upstream.kind == "local"


async def _whole(
    exchange: Exchange, account: Account, attempt: Attempt, most: int, translation: Translation | None
) -> bytes:
    """Held back until complete: so it can still be retried, and its cost is in its headers."""
    asked = _as_asked(account.request, translation)
    try:
        body = await read_all(exchange, most)
    except TooLong:
        attempt.result = TooLong.__name__
        # The request's doing, not the upstream's: another would write as much.
        raise UpstreamFailed(f"the answer has more than {most} bytes; ask for a stream", retry=False) from None
    if attempt.lease is not None and attempt.lease.candidate.upstream.kind == "local":
        name = attempt.lease.candidate.served.name
        if missing.names_missing_model(exchange.status, body, name):
            raise Refused(exchange.status, f"has no model `{name}`", code=missing.MODEL_MISSING)
    endpoint = ENDPOINTS[asked.endpoint]
    usage = endpoint.usage_of(body) if exchange.status < 400 else None
    # One that tells what it used is an answer: only the others are looked at once more.
    fault = answers.disguised(exchange.status, exchange.headers, body, endpoint.holds_answer) if usage is None else None
    if fault is not None:
        raise fault
    told = body if translation is None or exchange.status >= REFUSED else translation.answer(body)
    if attempt.claim is not None:
        attempt.claim()
    account.first_byte = account.last_byte = attempt.last = time.monotonic()
    if exchange.status < 400:
        if account.sound is not None:
            usage = heard(usage, account.sound())
        else:
            usage = _used(asked, account.learned, attempt, usage, body)
        attempt.usage = account.usage = usage
        if attempt.lease is not None:
            account.book(attempt, cost_of(attempt.lease, usage))
        attempt.tokens = usage.output_tokens
    return told


def _as_asked(request: GenRequest, translation: Translation | None) -> GenRequest:
    """As its upstream understands it."""
    return request if translation is None else replace(request, endpoint=translation.spoken.name)


class Stream:
    """Frames leave as they come, within the call that brings them. The head waits for the first of them: until then
    another upstream can be asked."""

    def __init__(
        self,
        exchange: Exchange,
        account: Account,
        attempt: Attempt,
        front: Callable[[], Headers],
        wire: Wire,
        delivered: Delivered | None = None,
        translation: Translation | None = None,
    ) -> None:
        self._exchange, self._account, self._attempt, self._wire = exchange, account, attempt, wire
        self._endpoint: Endpoint = ENDPOINTS[account.request.endpoint]
        """The caller's: it says how an error of ours looks."""
        self._asked = _as_asked(account.request, translation)
        self._machine = None if translation is None else translation.stream()
        drop_usage = self._endpoint.asks_usage and not account.request.include_usage and translation is None
        events, text = ENDPOINTS[self._asked.endpoint].events, self._endpoint.asks is None
        self._tap = Tap(events, drop_usage=drop_usage) if text else MediaTap(events, account.request.n)
        self._front = front
        self._delivered = delivered
        self._goes_on = delivered is not None and delivered.going_on
        """With what another upstream began: the client has the head."""
        self._begun = self._whole = False
        """Whether the client has something of it; whether it came to its end."""

    async def run(self) -> UpstreamFault | None:
        tap, wire = self._tap, self._wire
        broke: UpstreamFault | None = None
        try:
            await self._exchange.pour(self._push)
            if not tap.done and _ends_by_closing(self._exchange):
                raise Reset("the connection closed before the stream said its end")
            if not tap.done and not tap.frames:
                raise BadAnswer("the stream ended without an answer")
            self._whole = True
            rest = tap.rest() if self._machine is None else self._machine.end()
            if rest or not self._begun:
                self._pass(rest)
        except UpstreamFault as fault:
            if not self._begun:
                raise
            if tap.failed or not tap.done:  # else it was all there: what broke is only the connection
                broke = fault.with_traceback(None)  # it leads back to this frame
                if self._may_be_continued(fault):
                    return broke
                self._break_off(fault)
        except asyncio.CancelledError:
            if (self._begun or self._goes_on) and self._account.left is None:  # the process ends
                self._say(ShuttingDown("the answer broke off"))
                wire.finish()
            raise
        finally:
            if self._begun or self._goes_on:
                wire.on_room = None
            if self._begun:
                self._tell_usage()
        if broke is None:
            self._account.last_byte = time.monotonic()
        if self._attempt.on_end is not None:
            self._attempt.on_end()
        wire.finish()
        return broke

    def _may_be_continued(self, fault: UpstreamFault) -> bool:
        """Whether the end is left to whoever can find somebody to go on."""
        delivered, held = self._delivered, isinstance(fault, UpstreamTimeout) and fault.held
        if delivered is not None:
            delivered.left_open = delivered.open and not held
        return delivered is not None and delivered.left_open

    def _push(self, data: bytes) -> None:
        """Runs while the upstream's bytes are read (a Sink). Raises BadAnswer after an error event."""
        tap, attempt = self._tap, self._attempt
        piece = tap.feed(data)
        if tap.frames != attempt.tokens:
            attempt.last = time.monotonic()
            if attempt.first is None:
                attempt.first = attempt.last
                if attempt.on_first is not None:
                    attempt.on_first()
            attempt.tokens = tap.frames
        if tap.failed and not self._begun:
            raise BadAnswer("answered with an error event")
        if self._machine is not None:
            if tap.torn:
                raise BadAnswer("a frame that is too long to be translated")
            piece = self._machine.feed(piece)
        if piece:
            self._pass(piece)
            if self._wire.paused:
                self._hold()
        if tap.failed:
            raise BadAnswer("an error event in the stream")

    def _pass(self, piece: bytes) -> None:
        if not self._begun:
            if self._attempt.claim is not None:
                self._attempt.claim()
            self._wire.on_room = self._exchange.go_on
        delivered = self._delivered
        if delivered is not None:
            piece = delivered.cut(piece) if self._tap.torn else delivered.take(piece)
        if not (self._begun or self._goes_on):
            self._account.first_byte = time.monotonic()
            self._wire.begin(self._exchange.status, self._front(), piece)
            self._begun = True
        elif piece:
            self._wire.write(piece)
            self._begun = True
        if delivered is not None and delivered.trouble is not None:
            raise delivered.trouble

    def _hold(self) -> None:
        """The client is the slower one: the upstream waits for it."""
        if self._attempt.held_at is None:
            self._attempt.held_at = time.monotonic()
        self._exchange.hold()

    def _break_off(self, fault: UpstreamFault) -> None:
        """A stream that fails after its first byte ends with an error event at a frame boundary, not with its own end.
        Where the upstream sent one itself, that was it."""
        silenced = self._delivered is not None and self._delivered.silenced
        if self._tap.failed and not silenced:
            self._account.fail(UpstreamFailed("the upstream ended the stream with an error event"))
            return
        self._say(UpstreamFailed(f"the answer broke off: {fault.message}"))
        if isinstance(fault, UpstreamTimeout) and fault.held:
            self._account.error = CLIENT_STALLED

    def _say(self, error: GatewayError) -> None:
        """The last words. They wait for no room: they are few, and the connection has a deadline of its own."""
        tap, account = self._tap, self._account
        account.fail(error)
        event = self._endpoint.error_event(error, account.request.id, tap.last)
        self._wire.write((b"\n\n" if tap.torn else b"") + event)

    def _tell_usage(self) -> None:
        """Of this attempt, and of the answer: one that goes on with another's has what was before in its prompt."""
        account, attempt, tap, delivered = self._account, self._attempt, self._tap, self._delivered
        if isinstance(tap, MediaTap):
            # Of one that broke off nobody knows how much of it is billed: all that was ordered. One that ended with
            # fewer pictures had some of them filtered.
            told = tap.usage if tap.done or self._whole else None
            attempt.usage = account.usage = media_relay.used(account, attempt, told)
            return
        if account.sound is not None:
            attempt.usage = account.usage = heard(tap.usage, account.sound())
            return
        rest = delivered.request() if delivered is not None and self._goes_on else self._asked
        usage = _told(rest, account.learned, tap, bought=_bought(attempt))
        if _bought(attempt) and not tap.done:
            usage = unheard(usage, rest, (attempt.last or 0.0) - (attempt.first or 0.0))
        attempt.usage = account.usage = usage
        if delivered is not None and self._goes_on:
            account.usage = (
                delivered.whole(usage)
                if tap.usage is not None
                else counted(account.request, account.learned, delivered.written, bought=_bought(attempt))
            )


def end_broken(account: Account, wire: Wire, error: GatewayError) -> None:
    """The end of a stream that broke off between two frames, and that nobody goes on with."""
    account.fail(error)
    wire.write(ENDPOINTS[account.request.endpoint].error_event(error, account.request.id, b""))
    wire.finish()


def _used(request: GenRequest, learned: Learned, attempt: Attempt, told: Usage | None, body: bytes) -> Usage:
    """Of a whole answer."""
    output = round(len(body) / learned.bytes_per_token)
    if told is None:
        return counted(request, learned, output, bought=_bought(attempt))
    return believed(told, request, learned, surely_in(body, told, request), lambda: output)


def _told(request: GenRequest, learned: Learned, tap: Tap, *, bought: bool) -> Usage:
    """The stream's own figures. Where more came after it told them, that counts too, as a guess."""
    usage = tap.usage
    if usage is None:
        return counted(request, learned, passed(tap, learned.bytes_per_token), bought=bought)
    if tap.behind > (LAST_WORDS * request.n if tap.done else 0):
        written = max(usage.output_tokens, passed(tap, learned.bytes_per_token))
        usage = replace(usage, output_tokens=written, estimated=True)
    least = surely(usage, tap, request)
    return believed(usage, request, learned, least, lambda: passed(tap, learned.bytes_per_token))


def _bought(attempt: Attempt) -> bool:
    return attempt.lease is not None and attempt.lease.candidate.upstream.kind == "managed"


def _ends_by_closing(exchange: Exchange) -> bool:
    """Whether only the end of the connection ends this body: then its end alone does not tell that it is whole."""
    names = {name for name, _ in exchange.headers}
    return b"content-length" not in names and b"transfer-encoding" not in names
