"""What a caller may ask for in a minute, in a day and at once: taken before anything is decided, told with all answers.

A request counts once, as soon as it has been sent to anybody, whatever came of it; one that was refused before takes
nothing. Tokens are set aside at the most that it is likely to use and corrected when it is over.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import ceil, inf

from gateway.edge.replies import Headers
from gateway.edge.services import Services
from gateway.errors import InvalidRequest, RateLimited, StoreFault
from gateway.model import GenRequest, Hold, Quota, Short, Tenant, Unit, Usage
from gateway.money.keeping import until, utc
from gateway.money.periods import period_of
from gateway.routing.board import Board
from gateway.routing.quotas import Room, tightest, tokens_of
from gateway.upstreams.dialects.surface import is_anthropic

SHOWN: tuple[Unit, ...] = ("requests", "tokens")
"""What has headers."""
_WORDS = ("limit", "remaining", "reset")
_NAMES = {
    False: {unit: tuple(f"x-ratelimit-{word}-{unit}".encode() for word in _WORDS) for unit in SHOWN},
    True: {unit: tuple(f"anthropic-ratelimit-{unit}-{word}".encode() for word in _WORDS) for unit in SHOWN},
}
"""By whether the caller's SDK is Anthropic's."""
_MINUTE = 60
_SECONDS = {"minute": _MINUTE, "day": 24 * 60 * _MINUTE}
"""Of the periods that one request may outlast."""


class Entry:
    """Of one request; `Forward` says when."""

    __slots__ = ("_began", "_hold", "_quotas", "_request", "_s", "uncounted")

    def __init__(self, services: Services, request: GenRequest, *, counted: bool = False) -> None:
        """`counted`: it was, as it came; this is its work, later."""
        self._s, self._request = services, request
        self._quotas = () if counted else services.quotas.of_request(request.tenant)
        self._hold: Hold | None = None
        self._began = 0.0
        """When it got its place, in monotonic seconds."""
        self.uncounted = False
        """The store was away and nothing was drawn ahead: it is served at home, and nothing is bought for it."""

    async def enter(self, board: Board) -> None:
        """Raises RateLimited, and InvalidRequest for one that could never fit."""
        if not self._quotas:
            return
        wanted = [(one, self._amount(one, board)) for one in self._quotas]
        held: Hold | Short | None = self._s.till.take(self._request.id, wanted)
        if held is None:
            try:
                held = await self._s.till.hold(self._request.id, wanted)
            except StoreFault:
                self.uncounted = True
                return
        if isinstance(held, Short):
            self._s.telemetry.count_rate_limited(held.quota.of, limit_word(held.quota))
            raise limited(held, self._s.seats.seconds(held.quota), time.monotonic())
        self._hold, self._began = held, time.monotonic()

    def leave(self, *, sent: bool, usage: Usage | None) -> None:
        """It is over; once."""
        hold, self._hold = self._hold, None
        if hold is None:
            return
        tokens = usage.input_tokens + usage.output_tokens if usage is not None else 0
        used = {"requests": int(sent), "tokens": tokens if sent else 0}
        self._s.till.give(hold, lambda quota: used.get(quota.unit, 0))
        for one in self._quotas:
            if one.unit == "concurrent":
                self._s.seats.left(one, time.monotonic() - self._began)

    def beyond(self, usage: Usage) -> RateLimited | None:
        """Why one that goes on has used more tokens than a limit allows in all the periods that it has lasted for."""
        used, lasted = usage.input_tokens + usage.output_tokens, time.monotonic() - self._began
        for one in self._quotas if self._hold is not None else ():
            if one.unit == "tokens" and used > one.cap * (1 + lasted // _SECONDS.get(one.per, inf)):
                return RateLimited(f"limit `{one.name}`: {one.cap} tokens, and more were used")
        return None

    def headers(self) -> Headers:
        """What is left, this request being on board."""
        if not self._quotas:
            return []
        return limit_headers(self._s, self._quotas, anthropic=is_anthropic(f"/v1/{self._request.endpoint}"))

    def _amount(self, quota: Quota, board: Board) -> int:
        """What it takes of one limit. An answer that nobody bounds never takes more than all of it."""
        if quota.unit != "tokens":
            return 1
        request = self._request
        most = tokens_of(request, board.policy.models.get(request.model), board.known(request.model))
        if most > quota.cap and request.max_tokens is not None:
            what = f"with its prompt and max_tokens it may use {most} tokens"
            raise InvalidRequest(f"{what}, more than `{quota.name}` ever allows ({quota.cap})", param="max_tokens")
        return min(most, quota.cap)


def limited(short: Short, seat_seconds: int, now: float) -> RateLimited:
    """With the seconds until its window ends; for requests at once, until a place is likely to come free."""
    quota = short.quota
    if short.ends is None:
        said = f"limit `{quota.name}`: {quota.cap} at once, and all of them run"
        return RateLimited(said, retry_after=max(1, seat_seconds))
    wait = max(1, ceil(until(short, now)))
    if short.running:
        said = f"limit `{quota.name}`: what is left of {quota.cap} {quota.unit} is set aside by running requests"
        return RateLimited(said, retry_after=wait)
    said = f"limit `{quota.name}`: {max(0, short.left)} of {quota.cap} {quota.unit} are left for {wait} s"
    return RateLimited(said, retry_after=wait)


def limit_word(quota: Quota) -> str:
    """As in tenants.yaml."""
    return quota.unit if quota.unit == "concurrent" else f"{quota.unit}_per_{quota.per}"


def of_refused(services: Services, tenant: Tenant, path: str) -> Headers:
    """For an answer to a request that never came so far as to take anything."""
    quotas = services.quotas.of_request(tenant)
    return limit_headers(services, quotas, anthropic=is_anthropic(path)) if quotas else []


def limit_headers(services: Services, quotas: Sequence[Quota], *, anthropic: bool) -> Headers:
    """Of requests and of tokens: limit, what is left and when it is whole again, of the limit that is used up first.
    Before this replica has asked of a limit for the first time in its period, all of it is left."""
    made = list[tuple[bytes, bytes]]()
    for unit in SHOWN:
        rooms = [room_of(services, one) for one in quotas if one.unit == unit]
        if not rooms:
            continue
        quota, left, resets = rooms[0] if len(rooms) == 1 else tightest(rooms)
        limit, remaining, reset = _NAMES[anthropic][unit]
        when = utc(ceil(date_of(services, quota))) if anthropic else lasting(resets)
        made += ((limit, b"%d" % quota.cap), (remaining, b"%d" % left), (reset, when.encode()))
    return made


def room_of(services: Services, quota: Quota) -> Room:
    """The store's clock says when a window ends: how long that is, this gateway's need not know the time for."""
    known, now = services.till.left(quota), time.time()
    if known is None or known.ends is None:
        return Room(quota, quota.cap, window_end(quota, now) - now)
    return Room(quota, max(0, known.left), known.ends - time.monotonic())


def date_of(services: Services, quota: Quota) -> float:
    """When its window ends: seconds since the epoch."""
    known = services.till.left(quota)
    return window_end(quota, time.time()) if known is None or known.resets is None else known.resets


def window_end(quota: Quota, now: float) -> float:
    """Seconds since the epoch, by this gateway's clock: before the store has told."""
    return period_of(quota.per, now)[1] or now


def lasting(seconds: float) -> str:
    """As OpenAI writes it: `12s`, `6m0s`, `23h59m59s`; rounded up, so that whoever waits so long finds room."""
    whole = max(0, ceil(seconds))
    minutes, rest = divmod(whole, _MINUTE)
    if not minutes:
        return f"{rest}s"
    hours, minutes = divmod(minutes, _MINUTE)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"
