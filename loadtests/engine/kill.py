"""Check 5: the engine is killed under load, and comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Any

import httpx

from gateway.model import Breaker
from loadtests.engine.cuts import ENDED_BEFORE, ENGINES_OWN, KINDS, Cut
from loadtests.engine.ledger import Ledger
from loadtests.engine.stand import LOCAL, Stand, until
from loadtests.engine.streams import leave
from loadtests.engine.waits import fate, holds, idle, is_up, served

PLAIN = 2
"""Answers that are not streams: one must stay, one may be bought."""
FRAMES = 3
"""Each stream has delivered so many before the engine dies."""
STARTED_SECONDS = 20.0
NOTICED_SECONDS = 5.0
ENDED_SECONDS = 20.0
BACK_SECONDS = Breaker().longest + 10.0


async def whole(stand: Stand, ledger: Ledger) -> None:
    """SIGKILL to every process at once."""
    await _outage(stand, ledger, stand.engine.kill, ("upstream_error",))


async def largest(stand: Stand, ledger: Ledger) -> None:
    """SIGKILL to the largest process, as a kernel out of memory does: what is left may find words of its own."""
    await _outage(stand, ledger, stand.engine.kill_largest, ("upstream_error", ENGINES_OWN))


async def _outage(stand: Stand, ledger: Ledger, strike: Callable[[], None], words: Collection[str]) -> None:
    life = (await stand.reading()).life
    streams = [Cut(path) for path in KINDS]
    struck = asyncio.Event()
    reading = [asyncio.create_task(stream.read(stand, struck)) for stream in streams]
    stays, may_leave = (
        asyncio.create_task(stand.http.post("/v1/chat/completions", json=stand.long(), headers=headers))
        for headers in (LOCAL, {})
    )
    tasks = [*reading, stays, may_leave]
    try:
        await _under_way(stand, ledger, streams, tasks)
        struck.set()
        strike()
        began = time.monotonic()
        _, late = await asyncio.wait(tasks, timeout=ENDED_SECONDS)
        took = time.monotonic() - began
    finally:
        await leave(*tasks)
    ledger.add("requests that hang", "0", f"{len(late)}; the last had ended after {took:.1f} s", not late)
    if late:
        return
    judge_streams(ledger, streams, reading, words)
    _judge_answers(ledger, stays.result(), may_leave.result())
    await _while_down(stand, ledger)
    await _comes_back(stand, ledger, life)


def judge_streams(
    ledger: Ledger, streams: list[Cut], reading: list[asyncio.Task[None]], words: Collection[str]
) -> None:
    """`reading` has ended; `words`: what may be said of the cut."""
    for stream, task in zip(streams, reading, strict=True):
        seen = stream.failure() if task.exception() is None else _ended(task)
        ok = seen == ENDED_BEFORE or (seen in words and not stream.done)
        what = f"a {stream.path} stream: error in its last frame, [DONE]"
        ledger.add(what, (" or ".join(words), False), (seen, stream.done), ok)
    cut = sum(not stream.whole for stream in streams)
    ledger.add("streams that were cut off at all", "1 or more", cut, cut > 0)


def _judge_answers(ledger: Ledger, stays: httpx.Response, may_leave: httpx.Response) -> None:
    refusal, ok = _refusal(stays), ((502, "upstream_error"), (503, "no_capacity"))
    said = "502, upstream_error or 503, no_capacity"
    ledger.add("a plain request that must stay: status, code", said, refusal, refusal in ok)
    saved = (may_leave.status_code, fate(may_leave.headers)[0])
    ledger.add("a plain request that may be bought: status, outcome", (200, "fallback"), saved)


async def _under_way(stand: Stand, ledger: Ledger, streams: list[Cut], tasks: list[asyncio.Task[Any]]) -> None:
    async def all_of_them() -> bool:
        return all(len(stream.frames) >= FRAMES for stream in streams) and await holds(stand, len(tasks))

    ready, _ = await until(all_of_them, STARTED_SECONDS)
    early = [_ended(task) for task in tasks if task.done()]
    seen = f"{await stand.running()} running, frames {[len(stream.frames) for stream in streams]}, ended {early}"
    ledger.add("before the kill", f"{len(tasks)} running, each stream under way", seen, bool(ready))


async def _while_down(stand: Stand, ledger: Ledger) -> None:
    down, took = await until(lambda: is_up(stand, False), NOTICED_SECONDS)
    ledger.add("gateway_upstream_up", "0", f"{'0' if down else '1'} after {took:.1f} s", bool(down))
    bought = await stand.http.post("/v1/chat/completions", json=stand.body(max_tokens=4))
    seen = (bought.status_code, *fate(bought.headers))
    ledger.add("the next request: status, outcome, reason", (200, "fallback", "no_healthy_worker"), seen)
    flagged = await stand.http.post("/v1/chat/completions", json=stand.body(max_tokens=4), headers=LOCAL)
    refused = (*_refusal(flagged), "retry-after" in flagged.headers)
    ledger.add("a flagged request: status, code, Retry-After", (503, "no_capacity", True), refused)
    free, took = await until(lambda: _no_lease(stand), NOTICED_SECONDS)
    ledger.add("leases on the dead engine", "0", f"{await stand.leases()} after {took:.1f} s", bool(free))


async def _comes_back(stand: Stand, ledger: Ledger, life: int) -> None:
    stand.engine.kill()
    stand.engine.start()
    await stand.engine.ready()
    back, took = await until(lambda: served(stand, "local"), BACK_SECONDS)
    said = f"local within {BACK_SECONDS:g} s"
    ledger.add("a request after the restart", said, f"{back or 'not local'} {took:.1f} s after /health", bool(back))
    again, _ = await until(lambda: is_up(stand, True), NOTICED_SECONDS)
    ledger.add(
        "gateway_upstream_up, life",
        (1, life + stand.about.kind.tells_start),
        (int(bool(again)), (await stand.reading()).life),
    )
    await idle(stand)
    ledger.add("leases at the end", 0, await stand.leases())


async def _no_lease(stand: Stand) -> bool:
    return await stand.leases() == 0


def _ended(task: asyncio.Task[Any]) -> str:
    """How a request ended that should not have."""
    if fault := task.exception():
        return f"{type(fault).__name__}: {fault}"
    answer = task.result()
    return "a stream at its end" if answer is None else str(answer.status_code)


def _refusal(answer: httpx.Response) -> tuple[int, str | None]:
    return answer.status_code, answer.json().get("error", {}).get("code")
