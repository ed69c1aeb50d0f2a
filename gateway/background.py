"""Tasks that run as long as their process does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

RESTART_SECONDS = 0.5

_log = logging.getLogger("gateway")


async def keep_running(run: Callable[[], Awaitable[None]]) -> None:
    """A background task that fails is logged and begins anew: none of them may end in silence.

    One that is cancelled ends, also where it fails at its own end instead of letting the cancellation through.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine runs in a task
    while True:
        try:
            await run()
        except Exception:
            _log.exception("background task failed", extra={"fields": {"task": getattr(run, "__qualname__", "?")}})
        if task.cancelling():
            raise asyncio.CancelledError
        await asyncio.sleep(RESTART_SECONDS)
