"""Jobs as their runners see them: taken, written by the one process that has them, handed on.

A job has a fence: the replica that took it (`owner`) and a number that grows with every taking (`token`). Every write
compares both, and the number of the write before it, so whoever was paused, cut off or believed dead changes nothing
any more. Who is silent for four seconds has no jobs any more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec

from gateway.jobs.record import Job
from gateway.jobs.scripts import FIELDS, Scripts, decoded, encoded, script
from gateway.jobs.work import FenceLost
from gateway.store.connection import Store
from gateway.store.target import Value

_TAKE, _BEAT, _WRITE, _RELEASE, _SWEEP = (script(name) for name in ("take", "beat", "write", "release", "sweep"))
FENCE_SECONDS = 4.0
"""SILENT_MS of jobs.lua: whoever has not been heard for so long may have lost what it had."""
_WIDTH = 3 + len(FIELDS)
MOST = 1_000_000
"""No bound."""
NOTHING: Mapping[str, int] = {}
SWEPT = 100
"""Most jobs of one sweep."""
_log = logging.getLogger("gateway")


@dataclass(slots=True)
class Fence:
    """The right to one job. `version` is that of the last write; `until`: nobody else can have it before that moment of
    its process's clock."""

    id: str
    token: int
    version: int
    until: float = 0.0


class Claim(NamedTuple):
    """A job that was taken. `left` is seconds until its deadline, by the store's clock."""

    fence: Fence
    job: Job
    left: float


class Taken(NamedTuple):
    claims: list[Claim]
    freed: int
    """Jobs of replicas that were found dead."""


class Swept(NamedTuple):
    expired: int
    due: list[str]
    """Whose records and artefacts are to go."""


class Fences:
    """Of one replica, whose name is `owner`. Calls raise StoreFault; each may be repeated after that. `clock` is
    monotonic seconds."""

    def __init__(
        self,
        store: Store,
        owner: str,
        *,
        store_ms: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scripts, self.owner, self._clock = Scripts(store, store_ms), owner, clock

    def fresh(self, fence: Fence) -> bool:
        """Whether that job is surely nobody else's yet: nobody frees it before this replica was silent for
        FENCE_SECONDS, and so long ago the store had not said that it is lost."""
        return self._clock() < fence.until

    async def take(self, most: int, share: int = MOST, running: Mapping[str, int] = NOTHING) -> Taken:
        """Jobs to work on; their newest state, whoever worked on them before. Nothing new of a tenant that has `share`
        of them here: `running` has as many of each. Never beside a `beat`, which gives back what was taken by a call
        whose answer was lost, and what this version cannot read: another one may, until it is over."""
        shares: list[Value] = [value for pair in running.items() for value in pair]
        until = self._clock() + FENCE_SECONDS
        now, freed, *rest = await self._scripts.run(_TAKE, self.owner, most, share, *shares)
        claims = []
        for at in range(0, len(rest), _WIDTH):
            id, token, version, *values = rest[at : at + _WIDTH]
            fence = Fence(id.decode(), int(token), int(version), until)
            try:
                job = decoded(values)
            except msgspec.DecodeError:
                _log.exception("the record of a job cannot be read", extra={"fields": {"job": fence.id}})
                await self._unreadable(fence, values, now)
                continue
            left = (job.deadline or 0.0) - now / 1000
            claims.append(Claim(fence, job, left))
        return Taken(claims, freed)

    async def _unreadable(self, fence: Fence, values: Sequence[bytes | None], now: int) -> None:
        """Another version may read it, until its time is over: then it has failed, and an operator is told of it."""
        job = await self._scripts.stand_in(fence.id, values)
        if (job.deadline or 0.0) <= now / 1000:
            with suppress(FenceLost):
                await self.write(fence, msgspec.structs.replace(job, state="failed"))

    async def beat(self, fences: Iterable[Fence]) -> tuple[int, dict[str, Literal["lost", "cancel"]]]:
        """This replica lives, and these are all that it has: how many others that freed for whoever takes them, and
        which of its own are to stop."""
        named, until = list(fences), self._clock() + FENCE_SECONDS
        freed, *said = await self._scripts.run(_BEAT, self.owner, *_pairs(named))
        words = {id.decode(): word.decode() for id, word in zip(said[::2], said[1::2], strict=True)}
        for fence in named:
            if words.get(fence.id) != "lost":
                fence.until = until
        return freed, words

    async def write(self, fence: Fence, job: Job) -> None:
        """The job from now on; with a state that is an end, its one end. Raises FenceLost."""
        version = fence.version + 1
        args = (self.owner, fence.id, fence.token, version, job.state, encoded(job), int(job.unknown))
        if not await self._scripts.run(_WRITE, *args):
            raise FenceLost(fence.id)
        fence.version = version

    async def release(self, fences: Sequence[Fence], *, leaving: bool = False) -> int:
        """Others may go on with them at once; how many were still ours. `leaving`: this replica ends."""
        return int(await self._scripts.insist(_RELEASE, self.owner, int(leaving), *_pairs(fences)))

    async def sweep(self) -> Swept:
        """What is to be done as time goes by, by whichever replica comes first."""
        expired, *due = await self._scripts.run(_SWEEP, SWEPT)
        return Swept(expired, [id.decode() for id in due])


def _pairs(fences: Iterable[Fence]) -> list[Value]:
    return [value for fence in fences for value in (fence.id, fence.token)]
