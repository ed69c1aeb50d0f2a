"""What the runner is given: whoever does the work of a job, and whoever keeps its money. And what it gives them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol

from gateway.jobs.record import UNKNOWN_OUTCOME, Job, Try
from gateway.model import Artefact, Fate, JobState

Stop = Literal["cancel", "expired", "handover", "lost"]
"""Why the runner ended a work: its caller cancelled it; its time is over; this process shuts down, and another one goes
on with it; another one has it already. For the first two the upstream's order is to be cancelled as well; for the
others it must be left as it is."""


class FenceLost(Exception):
    """Another process has this job, or its record is gone. Whoever hears it stops at once and leaves all as it is."""


class FenceOld(FenceLost):
    """Another process may have it by now, and nothing of its newest try has left."""


class Anew(Enum):
    """What `Work.find` may say instead of a ticket."""

    NOT_THERE = "not_there"
    """The upstream surely never had it: it may be sent again."""
    UNKNOWN = "unknown"
    """Nobody can say: it is never sent again, and the job fails with `unknown_outcome`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended. `succeeded` has artefacts, which are in the artefact store by then; `failed` has its error:
    code and message."""

    state: JobState
    artefacts: tuple[Artefact, ...] = ()
    error: tuple[str, str] | None = None
    seconds: float | None = None
    size: str | None = None
    tried: str | None = None
    """How its newest try ended, written with its end."""

    @classmethod
    def failed(cls, code: str, message: str) -> Outcome:
        return cls("failed", error=(code, message))

    @classmethod
    def unknown(cls) -> Outcome:
        return cls.failed(
            UNKNOWN_OUTCOME, "the gateway was interrupted as it ordered this, and cannot tell what became"
        )


class Log(Protocol):
    """The record of one job, written by the one process that works on it. Each call returns once the store has it, also
    where that takes a while because the store is away; raises FenceLost."""

    @property
    def job(self) -> Job:
        """As it was last written."""
        ...

    @property
    def stopped(self) -> Stop | None:
        """Set before the work is cancelled (`asyncio.CancelledError`); also before it begins, where a job that was
        cancelled or has run out of time is resumed: then there is a `job.open` to be cancelled upstream, no more."""
        ...

    async def intent(self, one: Try) -> None:
        """Before anything is sent. Of a managed upstream it returns once that is on the store's disk, and the job was
        still this process's after that. The job is `running` from then on."""
        ...

    def may_send(self) -> None:
        """Called in the turn in which a call of an order is about to leave, after all that was waited for. Raises
        FenceLost, or FenceOld, where the job may be another process's by then."""
        ...

    async def ticket(self, ticket: str) -> None:
        """The newest try was taken: what the dialect needs to ask for it again, from any process."""
        ...

    async def progress(self, percent: int) -> None:
        """0..100; never goes back. Told at most once a second; nobody waits for it, and it never raises."""
        ...

    async def tried(self, result: str) -> None:
        """The newest try is over, and another one may follow. `result` as in the ledger."""
        ...


class Work(Protocol):
    """What a job needs done. One for all jobs of a process."""

    async def run(self, job: Job, log: Log) -> Outcome:
        """All of it, or what is left of it: where `job.open` has a ticket, that order is asked for, at that upstream,
        and nothing is sent. Cancelled with `log.stopped` set. A GatewayError fails the job with its code."""
        ...

    async def find(self, job: Job, one: Try) -> str | Anew:
        """A paid order that was sent, or not: its ticket, by the dialect's `find` and `found`. An UpstreamFault is
        tried again for a while, and is UNKNOWN then."""
        ...


FateOf = Callable[[str, str], Awaitable[Fate]]
"""By the ids of a job and of an attempt that was made for it."""


class Money(Protocol):
    """What is set aside for a job's attempts outlives the process that set it aside (`money/kept.py`)."""

    async def told(self) -> None:
        """Returns once the store has all that was booked; raises StoreFault."""
        ...

    async def stands(self, attempt: str) -> bool:
        """Whether what was set aside for it still is; what a store that fell has forgotten is set aside anew, and may
        be forgotten again until it is synced. Raises StoreFault: nothing may be sent."""
        ...

    def leave(self, attempt: str) -> None:
        """Another process goes on with it: what this one still books of it changes nothing."""
        ...

    async def lost(self, attempt: str) -> None:
        """Nobody will ever tell what became of it: booked at what was set aside. Raises StoreFault."""
        ...

    async def unsent(self, attempt: str) -> None:
        """It surely never left: nothing was used. Raises StoreFault."""
        ...

    async def sweep(self, fate_of: FateOf) -> None:
        """`lost` or `unsent` for every attempt that is not `open`. Raises StoreFault."""
        ...
