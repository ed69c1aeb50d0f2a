"""The way back of pictures and speech: what a whole answer used is read while it passes, and no more of it is held than
of any other answer."""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.edge import media_metering
from gateway.edge.account import Account, Attempt
from gateway.edge.booking import cost_of
from gateway.edge.passing import Passing
from gateway.edge.replies import Headers
from gateway.edge.wire import Wire
from gateway.errors import BadAnswer, UpstreamFault
from gateway.model import MediaAsk, Usage
from gateway.upstreams import answers
from gateway.upstreams.dialects.surface import ENDPOINTS
from gateway.upstreams.http1 import Exchange
from gateway.upstreams.skim import Skim

_SOUND = (b"audio/", b"application/octet-stream", b"video/")


def is_sound(kind: bytes) -> bool:
    """Whether a media type may be what /audio/speech answers with. `video/` is what some call MP4 and WebM sound."""
    return kind.startswith(_SOUND)


async def sound(
    exchange: Exchange, account: Account, attempt: Attempt, front: Callable[[], Headers], wire: Wire
) -> UpstreamFault | None:
    """As `relay`, of bytes of sound. All of it is paid for once it was begun."""
    attempt.streamed = True
    broke = await Passing(exchange, account, attempt, front, wire).run()
    _book(account, attempt, None)
    return broke


async def whole(
    exchange: Exchange, account: Account, attempt: Attempt, front: Callable[[], Headers], wire: Wire, *, most: int
) -> UpstreamFault | None:
    """As `relay`, of a success in JSON. Up to `most` bytes are held back, so that it can still be retried, and its cost
    is in its headers; pictures past that are passed on as they come."""
    attempt.streamed = False
    skim, pieces, size = Skim(), [], 0
    while size <= most and (piece := await exchange.read()):
        skim.feed(piece)
        pieces.append(piece)
        size += len(piece)
    body = b"".join(pieces)
    del pieces
    spoken = ENDPOINTS[account.request.endpoint].sound
    if size > most and not spoken:
        broke = await Passing(exchange, account, attempt, front, wire, skim.feed).run(body)
        _book(account, attempt, _told(account, skim.text))
        return broke
    usage = _told(account, skim.text)
    if usage is None and (spoken or not skim.given_up):
        code = answers.error_code(body)
        raise (
            answers.refusal(exchange.status, exchange.headers, body) if code else BadAnswer("answered without a result")
        )
    if attempt.on_end is not None:
        attempt.on_end()
    if attempt.claim is not None:
        attempt.claim()
    account.first_byte = account.last_byte = attempt.last = time.monotonic()
    _book(account, attempt, usage)
    wire.answer(exchange.status, front(), body)
    return None


def _told(account: Account, text: bytes) -> Usage | None:
    return ENDPOINTS[account.request.endpoint].usage_of(text)


def used(account: Account, attempt: Attempt, told: Usage | None) -> Usage:
    """What the attempt used, where its upstream told so much."""
    request, lease = account.request, attempt.lease
    offer = None if lease is None else lease.candidate.served.offer
    return media_metering.used(told, request, request.media or MediaAsk(), offer)


def _book(account: Account, attempt: Attempt, told: Usage | None) -> None:
    attempt.usage = account.usage = usage = used(account, attempt, told)
    if attempt.lease is not None:
        account.book(attempt, cost_of(attempt.lease, usage))
    attempt.tokens = usage.output_tokens
