"""What is fetched for callers, in one process: so many addresses at once and so many bytes, and of each tenant a share.

Whoever finds all turns taken waits in line, a tenant's requests behind its own first: nobody's thousand addresses are
in another's way. What was fetched counts until its request is over, because so long it lies in memory. Nothing is
waited for while room is held that others wait for: of bytes there are enough, or the request is refused.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from weakref import WeakValueDictionary

from gateway.edge.body import ClientLeft
from gateway.edge.cycle import Cycle
from gateway.errors import DeadlineExceeded, RateLimited, UpstreamFault, UpstreamTimeout
from gateway.settings import Settings
from gateway.upstreams import fetch
from gateway.upstreams.fetch import Fetched

FETCH_SECONDS = 20.0
"""For all addresses of one request, the wait for a turn included."""
RETRY_SECONDS = 5
"""A fetch takes a second or so where nobody is slow on purpose."""
CLOCK_STEP = 0.01
"""Seconds by which the event loop's timers may be early: its clock goes in milliseconds."""
TENANTS_PART = 2
"""One part in so many of the bytes is the most that one tenant may hold."""


@dataclass(slots=True, weakref_slot=True)
class _Share:
    """What one tenant has of it."""

    turns: asyncio.Semaphore
    held: int = 0


class Fetches:
    """Of one process. `most` addresses at once, `of_tenant` of one tenant; `most_bytes` held by all requests."""

    def __init__(self, most: int, of_tenant: int, most_bytes: int, seconds: float = FETCH_SECONDS) -> None:
        self.turns, self.held, self.most_bytes, self.seconds = asyncio.Semaphore(most), 0, most_bytes, seconds
        self.names = fetch.Names(most)
        self._of_tenant = min(of_tenant, most)
        self._shares: WeakValueDictionary[str, _Share] = WeakValueDictionary()

    @classmethod
    def of(cls, settings: Settings) -> Fetches:
        return cls(settings.fetches, settings.fetches_per_tenant, settings.fetch_bytes)

    def share(self, tenant: str) -> _Share:
        """It lasts as long as a request has it, or a turn of one."""
        share = self._shares.get(tenant)
        if share is None:
            share = self._shares[tenant] = _Share(asyncio.Semaphore(self._of_tenant))
        return share


class Fetching:
    """Of one request, whose caller is `known` before the first address. Must be closed when the request is over."""

    def __init__(self, fetches: Fetches) -> None:
        self._all = fetches
        self._share: _Share | None = None
        self._held = 0
        self._deadline: float | None = None
        self._until: float | None = None

    def known(self, tenant: str, deadline: float | None) -> Fetching:
        """`deadline`: of its caller, by `time.monotonic`."""
        self._share, self._deadline = self._all.share(tenant), deadline
        return self

    def close(self) -> None:
        """Gives back what it holds. Idempotent."""
        self._give_back(0)

    async def get(self, url: str, *, most: int, allow_private: bool = False) -> Fetched:
        """As `upstreams.fetch.fetch`. Raises RateLimited too, where no turn came in time or no room is left for what
        comes, and DeadlineExceeded."""
        async with self._turn() as turn:
            before, data = self._held, bytearray()
            try:
                with self._cut_short():
                    given = fetch.open(
                        url,
                        hosts=None,
                        most=most,
                        seconds=self._left(),
                        allow_private=allow_private,
                        resolve=turn.resolve,
                    )
                    async with given as opened:
                        self._room(opened.size or 0)
                        async for piece in opened.pieces():
                            self._hold(len(piece))
                            data += piece
                        return Fetched(opened.media_type, bytes(data))
            except BaseException:
                self._give_back(before)
                raise

    async def check(self, url: str, *, allow_private: bool = False) -> None:
        """As `upstreams.fetch.place_checked`. Raises RateLimited and DeadlineExceeded too."""
        async with self._turn() as turn:
            with self._cut_short():
                try:
                    async with asyncio.timeout(self._left()):
                        await fetch.place_checked(url, allow_private=allow_private, resolve=turn.resolve)
                except TimeoutError:
                    raise UpstreamTimeout("total", self._all.seconds, processed=False) from None

    # Turns.

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[_Turn]:
        share = self._known()
        try:
            async with asyncio.timeout(self._left()):
                await share.turns.acquire()
                try:
                    await self._all.turns.acquire()
                except BaseException:
                    share.turns.release()
                    raise
        except TimeoutError:
            what = "too many addresses are being fetched here, and no turn came in time: send the data itself"
            raise RateLimited(what, retry_after=RETRY_SECONDS) from None
        turn = _Turn(self._all, share)
        try:
            yield turn
        finally:
            turn.left()

    def _known(self) -> _Share:
        assert self._share is not None  # noqa: S101 - nobody fetches for a stranger
        return self._share

    # Time.

    def _left(self) -> float:
        """Seconds for what is still to be done."""
        now = time.monotonic()
        if self._until is None:
            self._until = now + self._all.seconds
        ends = self._until if self._deadline is None else min(self._until, self._deadline)
        return max(0.0, ends - now)

    @contextmanager
    def _cut_short(self) -> Iterator[None]:
        try:
            yield
        except UpstreamFault as fault:
            if self._deadline is not None and time.monotonic() >= self._deadline - CLOCK_STEP:
                raise DeadlineExceeded("the deadline passed while an address of the request was fetched") from fault
            raise

    # Room.

    def _room(self, size: int) -> None:
        """Raises RateLimited where so many bytes more are too many."""
        fetches, share = self._all, self._known()
        if share.held + size > fetches.most_bytes // TENANTS_PART or fetches.held + size > fetches.most_bytes:
            what = "what was fetched for other requests leaves no room for what its addresses lead to"
            raise RateLimited(f"{what}: send the data itself, or again later", retry_after=RETRY_SECONDS)

    def _hold(self, size: int) -> None:
        self._room(size)
        self._add(size)

    def _give_back(self, left: int) -> None:
        if self._held > left:
            self._add(left - self._held)

    def _add(self, size: int) -> None:
        self._held += size
        self._known().held += size
        self._all.held += size


class _Turn:
    """Over when its fetch is, and the look for its host's name: a thread that looks cannot be stopped, and whoever
    leaves and comes again must not take one thread after the other. So it keeps its tenant's share, which would else be
    forgotten with the request, and a new one begun with all turns free."""

    def __init__(self, fetches: Fetches, share: _Share) -> None:
        self._all, self._share, self._uses = fetches, share, 1

    def left(self) -> None:
        self._uses -= 1
        if not self._uses:
            self._share.turns.release()
            self._all.turns.release()

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self._uses += 1
        return await self._all.names.of(host, port, self.left)


@contextmanager
def heeding(wire: Cycle) -> Iterator[None]:
    """A client that leaves ends what is awaited inside, at once. Raises ClientLeft."""
    task, gone = asyncio.current_task(), False
    assert task is not None  # noqa: S101 - an ASGI server runs applications in tasks

    def leave() -> None:
        nonlocal gone
        gone = True
        task.cancel()

    if wire.disconnected:
        raise ClientLeft
    wire.on_left = leave
    try:
        yield
    except asyncio.CancelledError:
        if not gone or task.uncancel():
            raise
        raise ClientLeft from None
    finally:
        wire.on_left = None
