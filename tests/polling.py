"""Waiting on the event loop for what has no event; `tests.gateways.eventually` does it without one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

POLL_SECONDS = 0.002


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Returns once `condition` holds. Raises TimeoutError where it does not in time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # what it waits for has no event
            await asyncio.sleep(POLL_SECONDS)
