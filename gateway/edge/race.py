"""Attempts of one request side by side: whoever has the first word for its client has all the others, too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gateway.errors import GatewayError, UpstreamFault
from gateway.model import Lease

Failed = list[tuple[Lease, UpstreamFault]]
"""What became of attempts. Empty: the client has its answer, or the error event of its stream."""


class Lost(Exception):
    """Another attempt answers the client: this one has nothing more to say, and is nobody's failure."""


class Race:
    """Owns the tasks of its lanes. `stop` must be called whatever happened; after it none of them runs."""

    def __init__(self) -> None:
        self.winner: Lane | None = None
        self._lanes: list[Lane] = []

    def enter(self, run: Callable[[Lane], Awaitable[Failed]]) -> Lane:
        """One more attempt sets out."""
        lane = Lane(self)
        lane.task = asyncio.ensure_future(_called(run, lane))
        self._lanes.append(lane)
        return lane

    async def look(self, lane: Lane, seconds: float) -> bool:
        """Whether the lane still runs after so many seconds, and nobody has won."""
        await asyncio.wait({lane.task}, timeout=seconds)
        return not lane.task.done() and self.winner is None

    async def results(self) -> list[Failed]:
        """Waits for all. That of the winner alone, or of every lane where nobody won. Raises what any of them raised,
        but for what a loser may end with."""
        await asyncio.wait([lane.task for lane in self._lanes])
        return [lane.task.result() for lane in self._lanes if not (lane.lost and _fell(lane.task))]

    async def stop(self) -> None:
        """Cancels those that still run and waits for them, also where its caller is cancelled meanwhile."""
        cancelled = False
        for lane in self._lanes:
            lane.task.cancel()
        while running := [lane.task for lane in self._lanes if not lane.task.done()]:
            try:
                await asyncio.wait(running)
            except asyncio.CancelledError:
                cancelled = True
        self._lanes.clear()
        if cancelled:
            raise asyncio.CancelledError

    def won(self, winner: Lane) -> None:
        self.winner = winner
        for lane in self._lanes:
            if lane is not winner:
                lane.task.cancel()


class Lane:
    """One of them. `asked`: its request has left."""

    __slots__ = ("_race", "asked", "task")

    def __init__(self, race: Race) -> None:
        self._race = race
        self.task: asyncio.Future[Failed]
        self.asked = False

    @property
    def lost(self) -> bool:
        return self._race.winner is not None and self._race.winner is not self

    def claim(self) -> None:
        """To be called before anything is written to the client. The others are cancelled. Raises Lost where one of
        them was first."""
        if self.lost:
            raise Lost
        if self._race.winner is None:
            self._race.won(self)


async def _called(run: Callable[[Lane], Awaitable[Failed]], lane: Lane) -> Failed:
    return await run(lane)


def _fell(task: asyncio.Future[Failed]) -> bool:
    """Whether it ended as it may: cancelled, or by itself, in time or not. Anything else is a mistake of ours."""
    return task.cancelled() or task.exception() is None or isinstance(task.exception(), Lost | GatewayError)
