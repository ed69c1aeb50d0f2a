"""Workers that fail: a share of errors and broken streams all the time, and now and then one is killed."""

from __future__ import annotations

import asyncio
from itertools import cycle

from loadtests.simfleet.harness import SimFleet
from loadtests.soak.site import NARROW

ERROR_SHARE = BROKEN_SHARE = 0.005
"""Of the requests to a worker: together the 1 % of faults."""
FRAMES_BEFORE = 3
DOWN_SECONDS = 3.0
KILL_SECONDS = 60.0
"""From one killed worker to the next; a shorter run has one."""


def begin(fleet: SimFleet) -> None:
    drop = {"share": BROKEN_SHARE, "after_frames": FRAMES_BEFORE}
    fleet.config(error_rate=ERROR_SHARE, drop_mid_stream=drop)


async def kill_now_and_then(fleet: SimFleet, seconds: float) -> None:
    """Each worker in turn, for a run of `seconds`; returns with all of them alive."""
    kills = max(1, round(seconds / KILL_SECONDS))
    gap = seconds / (kills + 1)
    workers = cycle([worker.name for worker in fleet.workers if worker.name != NARROW])
    for _ in range(kills):
        await asyncio.sleep(max(0.0, gap - DOWN_SECONDS))
        name = next(workers)
        await asyncio.to_thread(fleet.config, name, die=True)
        await asyncio.sleep(min(gap, DOWN_SECONDS))
        await asyncio.to_thread(fleet.config, name, alive=True)
