"""The driver of orders: submits one, looks at it until it has an end, and takes it back where nobody wants it any more.

It knows no provider: which call comes next, and what an answer says, is the dialect's (`dialects/ordering.py`). It
knows no socket either: a `Desk` makes the calls. Each order is submitted at most once by it; what was submitted is only
looked at again, at the same upstream. So whatever fails once it is placed is an `OrderLost`, which no bought API is
asked for a second time, or what the upstream itself said of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from gateway.errors import OrderLost, PermitMismatch, PermitRefused, Refused, UpstreamFault, UpstreamTimeout
from gateway.model import ENDED, Upstream
from gateway.upstreams import answers
from gateway.upstreams.client import TooLong
from gateway.upstreams.codes import STUCK_IN_QUEUE
from gateway.upstreams.dialects.ordering import Answer, Call, Dialect, Order, Staged, Told

LEAVE_SECONDS = 5.0
"""For all that is still said to an upstream whose order nobody wants any more: learning its ticket, stopping it."""
LOOK_SECONDS = 30.0
"""Of silence after which one look at an order is given up. A submit may take as long as the answer of any request:
many APIs answer it with the result."""
GROWTH, GROWN, JITTER = 1.25, 4.0, 0.2
"""Each wait is so much longer than the one before it, up to so many times the dialect's own, give or take a fifth."""
LEAST_WAIT = 0.05
"""Seconds between two looks, whatever an upstream says."""
SETTLE_SECONDS, SETTLE_PAUSE = 5.0, 1.0
"""An order may be on its way, or be placed and not yet listed: lists are made of copies that lag. The pause is between
two looks."""
NOT_READY = 503
_AGAIN = frozenset({401, 402, 403, 407, 408, 425, 429})
"""4xx of a look that say nothing of the order: it is looked at again."""


class Desk(Protocol):
    """Makes the calls of one attempt. Raises UpstreamFault where no whole answer came, whatever its status."""

    async def call(self, call: Call, *, silence: float | None = None, grace: float = 0.0) -> Answer:
        """`silence`: seconds without a first byte; None: as any request. `grace`: seconds past the end of the order in
        which it may still be made."""
        ...


class Log(Protocol):
    """Where the order is written down, so that another process can go on with it. What these raise ends the driver."""

    @property
    def resumable(self) -> bool:
        """Whether somebody else can go on with its ticket: then a driver that is cancelled leaves the work alone."""
        ...

    async def intent(self) -> None:
        """It is about to be submitted. Returns when that is kept."""
        ...

    async def ticket(self, text: str) -> None:
        """It was submitted, and this is how it is asked for. Also whenever that changes."""
        ...

    async def progress(self, percent: int) -> None: ...


class Unlogged:
    """Of a request whose caller waits: with the process goes the caller."""

    resumable = False

    async def intent(self) -> None: ...

    async def ticket(self, text: str) -> None: ...

    async def progress(self, percent: int) -> None: ...


class Clock(NamedTuple):
    """What a test replaces in order not to wait. `jitter` gives 0..1."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long what may take. `until` is a moment of the clock, the others are seconds."""

    until: float
    queued: float | None
    """In the upstream's queue without a sign of progress; None: as long as it may take at all."""
    trouble: float = 120.0
    """In which every look at a placed order fails."""
    settle: float = SETTLE_SECONDS
    """After which a list is believed that does not have an order whose answer was lost."""


class NotTaken(Exception):
    """The upstream's own refusal of what is asked: the caller's affair, as any 4xx. Nothing was made."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"answered {answer.status}")
        self.answer = answer


T = TypeVar("T")
UNLOGGED, CLOCK = Unlogged(), Clock()


async def fill(
    desk: Desk,
    dialect: Dialect,
    upstream: Upstream,
    order: Order,
    *,
    patience: Patience,
    ticket: str | None = None,
    log: Log = UNLOGGED,
    clock: Clock = CLOCK,
) -> Told:
    """`order` as it succeeded: its pieces are still to be fetched. With a `ticket` it was submitted before.

    Raises InvalidRequest before anything is sent, NotTaken, UpstreamFault, and what `log` raises. Where it is cancelled
    the order is taken back, unless it is resumable.
    """
    return await _Filling(desk, dialect, upstream, order, patience, log, clock).run(ticket)


async def look_for(desk: Desk, dialect: Dialect, upstream: Upstream, order: Order) -> Told | None:
    """An order whose submit may or may not have arrived. None: it surely did not. Raises OrderLost where that cannot be
    told."""
    call = dialect.find(upstream, order)
    if call is None:
        raise OrderLost("whether the order arrived cannot be told")
    try:
        return dialect.found(order, await desk.call(call, silence=LOOK_SECONDS))
    except UpstreamFault as fault:
        raise OrderLost(f"whether the order arrived cannot be told: {fault.message}") from fault


class _Filling:
    """One order at one upstream."""

    def __init__(
        self,
        desk: Desk,
        dialect: Dialect,
        upstream: Upstream,
        order: Order,
        patience: Patience,
        log: Log,
        clock: Clock,
    ) -> None:
        self._desk, self._dialect, self._upstream, self._order = desk, dialect, upstream, order
        self._patience, self._log, self._clock = patience, log, clock
        self._ticket: str | None = None
        self._percent = 0
        self._wait = dialect.poll_seconds

    async def run(self, ticket: str | None) -> Told:
        try:
            if ticket is None:
                told = await self._place()
            else:
                self._ticket, told = ticket, Told(state="queued", after=0.0)
            return _ended(await self._watch(told))
        except asyncio.CancelledError:
            if not self._log.resumable:
                await _briefly(self._stop())
            raise

    # -- placing it --------------------------------------------------------------------------------------------

    async def _place(self) -> Told:
        """Once it leaves, its answer is waited for even by a driver that is cancelled: what has no ticket cannot be
        stopped."""
        submit = self._dialect.submit(self._upstream, self._order)
        first = self._dialect.before(self._upstream, self._order) if isinstance(self._dialect, Staged) else ()
        await self._log.intent()
        placing = asyncio.ensure_future(self._send(first, submit))
        try:
            told = await asyncio.shield(placing)
        except asyncio.CancelledError:
            with contextlib.suppress(UpstreamFault, NotTaken):
                self._ticket = (await _briefly(placing) or _NOTHING).ticket
                if self._ticket is not None and self._log.resumable:
                    await _briefly(self._log.ticket(self._ticket))
            raise
        return told

    async def _send(self, first: tuple[Call, ...], submit: Call) -> Told:
        for call in first:
            answer = await self._desk.call(call)
            if answers.meaning(answer.status) != "answer" or answer.status >= answers.REFUSED:
                raise answers.refusal(answer.status, list(answer.headers), answer.body)
        try:
            answer = await self._desk.call(submit)
            try:
                return self._dialect.submitted(self._order, answer)
            except Refused as fault:
                if _about_the_request(fault):
                    raise NotTaken(answer._replace(status=fault.status)) from fault
                raise
        except UpstreamFault as fault:
            return await self._reconcile(fault)

    async def _reconcile(self, fault: UpstreamFault) -> Told:
        """Of a bought order that may or may not be there, its API's list tells, where it has one; that it is not there
        only after a while, by a look of its own."""
        unknown = self._upstream.kind == "managed" and not answers.retryable("managed", fault)
        if not unknown or answers.about_content(fault) or self._dialect.find(self._upstream, self._order) is None:
            raise fault
        clock = self._clock
        settled = clock.now() + self._patience.settle
        while True:
            believed = clock.now() >= settled
            told = await look_for(self._desk, self._dialect, self._upstream, self._order)
            if told is not None:
                return told
            if believed:
                fault.processed = False  # it may be placed elsewhere
                raise fault
            await clock.sleep(min(SETTLE_PAUSE, settled - clock.now()))

    # -- looking at it -----------------------------------------------------------------------------------------

    async def _watch(self, told: Told) -> Told:
        """Until it has an end. What goes wrong meanwhile is no reason to buy it again."""
        clock, patience = self._clock, self._patience
        began = sign = clock.now()
        while True:
            if await self._note(told):
                sign = clock.now()
            if told.state in ENDED:
                return told
            if told.state == "queued" and patience.queued is not None and clock.now() - sign >= patience.queued:
                told, sign = await self._give_up(clock.now() - sign), clock.now()
                continue
            await self._pause(told.after)
            if clock.now() >= patience.until:
                await _briefly(self._stop())
                raise UpstreamTimeout("total", patience.until - began)
            told = await self._look()

    async def _note(self, told: Told) -> bool:
        """Writes down what is new; whether that is a sign of progress."""
        if told.ticket is not None and told.ticket != self._ticket:
            self._ticket = told.ticket
            await self._log.ticket(told.ticket)
        if self._ticket is None and told.state not in ENDED:
            raise OrderLost("took the order and did not say how to ask for it")
        if told.percent is not None and told.percent > self._percent:
            self._percent = told.percent
            await self._log.progress(told.percent)
            return True
        return told.state == "running"

    async def _pause(self, after: float | None) -> None:
        """Until the next look: when the upstream says, else a little longer each time; never past the end."""
        seconds, self._wait = self._wait, min(self._wait * GROWTH, self._dialect.poll_seconds * GROWN)
        if after is None:
            after = seconds * (1 - JITTER + 2 * JITTER * self._clock.jitter())
        await self._clock.sleep(max(LEAST_WAIT, min(after, self._patience.until - self._clock.now())))

    async def _look(self) -> Told:
        """One answer about it, asked for again and again as long as the trouble may last."""
        clock, began = self._clock, self._clock.now()
        while True:
            try:
                return await self._ask()
            except UpstreamFault as fault:
                ends = min(began + self._patience.trouble, self._patience.until)
                if answers.about_content(fault):  # MiniMax says so of a film that failed in place of its state
                    raise
                if not _passing(fault) or clock.now() >= ends:
                    code = fault.code if isinstance(fault, Refused | OrderLost) else ""
                    raise OrderLost(f"placed, and then: {fault.message}", code=code) from fault
                await self._pause(fault.retry_after if isinstance(fault, Refused) else None)

    async def _ask(self) -> Told:
        ticket = self._known()
        answer = await self._desk.call(self._dialect.poll(self._upstream, self._order, ticket), silence=LOOK_SECONDS)
        return self._dialect.polled(self._order, ticket, answer)

    def _known(self) -> str:
        assert self._ticket is not None  # noqa: S101 - `_note` has seen to it
        return self._ticket

    # -- taking it back ----------------------------------------------------------------------------------------

    async def _give_up(self, seconds: float) -> Told:
        """Raises the fault of an order that nobody begins, once it is taken back; where it began or ended just now
        after all, that is what is told.

        A bought one that is not surely taken back is waited for: were it begun later, it would be paid for twice.
        """
        stopped, told = await _briefly(self._stop()) or False, _WAITING
        with contextlib.suppress(UpstreamFault):
            told = await self._ask()
        if told.state in ("running", "succeeded"):
            return told
        if not (stopped or told.state in ENDED or self._upstream.kind == "local"):
            return told
        said = f"{STUCK_IN_QUEUE}: queued for {seconds:.0f} s without a sign of progress"
        raise Refused(NOT_READY, said, code=STUCK_IN_QUEUE)

    async def _stop(self) -> bool:
        """Asks the upstream to stop it, if anything stops it; whether it says that it does. That this fails changes
        nothing."""
        if self._ticket is None:
            return False
        dialect, given = self._dialect, (self._upstream, self._order, self._ticket)
        one = dialect.cancel(*given)
        calls = dialect.stops(*given) if isinstance(dialect, Staged) else () if one is None else (one,)
        taken = [await self._say(call) for call in calls]
        return bool(taken) and all(taken)

    async def _say(self, call: Call) -> bool:
        with contextlib.suppress(UpstreamFault):
            answer = await self._desk.call(call, silence=LEAVE_SECONDS, grace=LEAVE_SECONDS)
            return 200 <= answer.status < 300
        return False


_NOTHING, _WAITING = Told(state="failed"), Told(state="queued")


def _ended(told: Told) -> Told:
    """Raises the fault of an order that did not succeed."""
    if told.state == "succeeded":
        return told
    raise told.fault or OrderLost(f"the order ended as {told.state}")


def _passing(fault: UpstreamFault) -> bool:
    """Whether another look may find it: the fault is about the moment, not about the order."""
    if isinstance(fault, OrderLost | PermitMismatch | PermitRefused | TooLong):
        return False
    return not isinstance(fault, Refused) or fault.status in _AGAIN or answers.meaning(fault.status) != "answer"


def _about_the_request(fault: Refused) -> bool:
    """Whether an answer to the submit is a refusal of what the caller asks for, to be given to the caller. Its status
    is what the dialect makes of it: MiniMax refuses inside HTTP 200."""
    said = fault.status >= answers.REFUSED and answers.meaning(fault.status) == "answer"
    return said and not (fault.account or answers.about_content(fault) or answers.retryable("managed", fault))


async def _briefly(what: Awaitable[T]) -> T | None:
    """Ends within LEAVE_SECONDS, also where its caller is cancelled once more; None where it did not."""
    task = asyncio.ensure_future(what)
    try:
        await asyncio.wait({task}, timeout=LEAVE_SECONDS)
    finally:
        if not task.done():
            task.cancel()
    return task.result() if task.done() and not task.cancelled() else None
