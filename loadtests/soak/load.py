"""The load: requests at random times at a given rate; some clients leave, each in one of the ways a client can."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

from loadtests.soak.kinds import KINDS, Ask, Kind, Wrong, judge
from loadtests.soak.wire import Answer, Wire

LEAVE_SHARE = 0.06
"""Of the clients want to leave; one in six gets its answer first."""
MOST_PATIENCE_SECONDS, QUEUE_PATIENCE_SECONDS = 0.1, 2.0
"""Before the first byte, and for room: an answer that is faster counts as one."""
MOST_EVENTS = 8
RESET_SECONDS = 1.0
ANSWER_SECONDS = 60.0
KEPT_WRONG = 20
QUEUED, MID_STREAM, RESET = "while it queued", "mid-stream", "by reset"


@dataclass(slots=True)
class Tally:
    """`answers`: (kind, what became of it) -> requests. `left`: phase -> clients gone. `wrong`: the first few, told."""

    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    wrong_count: int = 0
    sent: int = 0
    active: int = 0

    def judged(self, ask: Ask, answer: Answer) -> None:
        try:
            self.answers[ask.kind.name, judge(ask, answer)] += 1
        except (Wrong, KeyError, TypeError) as fault:
            self.wrong_count += 1
            if len(self.wrong) < KEPT_WRONG:
                self.wrong.append(f"{ask.kind.name}: {type(fault).__name__} {fault}")


class Load:
    """Open loop: a slow answer delays nobody else's request."""

    def __init__(self, port: int, rate: float, seed: int = 1) -> None:
        self.tally = Tally()
        self._port, self._rate, self._rng = port, rate, Random(seed)
        self._idle: list[Wire] = []

    async def run(self, seconds: float) -> None:
        """Returns when every request has come to its end."""
        loop = asyncio.get_running_loop()
        due = start = loop.time()
        async with asyncio.TaskGroup() as visits:
            while (due := due + self._rng.expovariate(self._rate)) < start + seconds:
                await asyncio.sleep(due - loop.time())
                visits.create_task(self._visit(self._draw()))
        for wire in self._idle:
            wire.leave()

    def _draw(self) -> Ask:
        kind = self._rng.choices(KINDS, [kind.share for kind in KINDS])[0]
        self.tally.sent += 1
        return kind.ask(self.tally.sent, self._rng)

    async def _visit(self, ask: Ask) -> None:
        self.tally.active += 1
        wire = await self._connected()
        way = self._way(ask.kind)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await (self._stay(wire, ask) if way is None else WAYS[way](wire, ask, self._rng))
        except TimeoutError:
            answer = Answer(fault=f"no end within {ANSWER_SECONDS:g} s")
            wire.leave()
        self.tally.active -= 1
        if answer is None:
            self.tally.left[str(way)] += 1
        else:
            self.tally.judged(ask, answer)

    def _way(self, kind: Kind) -> str | None:
        if self._rng.random() >= LEAVE_SHARE:
            return None
        if kind.queues:
            return self._rng.choice((QUEUED, RESET))
        return self._rng.choice([way for way in WAYS if way != QUEUED and (kind.stream or way != MID_STREAM)])

    async def _stay(self, wire: Wire, ask: Ask) -> Answer:
        answer = wire.ask(ask.raw)
        await wire.until(lambda _: False)
        if wire.open:
            self._idle.append(wire)
        return answer

    async def _connected(self) -> Wire:
        while self._idle:
            if (wire := self._idle.pop()).open:
                return wire
        return await Wire.connect(self._port)


# How clients leave. Each gives the answer where it was faster than the client's patience, else None.


async def _in_the_upload(wire: Wire, ask: Ask, rng: Random) -> Answer | None:
    wire.ask(ask.raw[: ask.half])
    await asyncio.sleep(rng.uniform(0.0, 0.05))
    wire.leave()
    return None


async def _before_the_first_byte(wire: Wire, ask: Ask, rng: Random) -> Answer | None:
    return await _within(wire, ask, rng.uniform(0.0, MOST_PATIENCE_SECONDS), lambda answer: answer.status > 0)


async def _queued(wire: Wire, ask: Ask, rng: Random) -> Answer | None:
    return await _within(wire, ask, rng.uniform(0.0, QUEUE_PATIENCE_SECONDS), lambda answer: answer.status > 0)


async def _mid_stream(wire: Wire, ask: Ask, rng: Random) -> Answer | None:
    events = rng.randint(1, MOST_EVENTS)
    answer = wire.ask(ask.raw)
    await wire.until(lambda answer: answer.events >= events)
    wire.leave()
    return answer if answer.whole or answer.fault else None


async def _by_reset(wire: Wire, ask: Ask, rng: Random) -> Answer | None:
    return await _within(wire, ask, rng.uniform(0.0, RESET_SECONDS), lambda _: False, reset=True)


async def _within(
    wire: Wire, ask: Ask, seconds: float, condition: Callable[[Answer], bool], *, reset: bool = False
) -> Answer | None:
    """Asks, and leaves after `seconds`; where `condition` holds earlier, the answer is read to its end."""
    answer = wire.ask(ask.raw)
    try:
        async with asyncio.timeout(seconds):
            await wire.until(condition)
    except TimeoutError:
        wire.leave(reset=reset)
        return None
    await wire.until(lambda _: False)
    wire.leave()
    return answer


WAYS: dict[str, Callable[[Wire, Ask, Random], Awaitable[Answer | None]]] = {
    "in the upload": _in_the_upload,
    QUEUED: _queued,
    "before the first byte": _before_the_first_byte,
    MID_STREAM: _mid_stream,
    RESET: _by_reset,
}
