"""Check 5: the engine is killed under load, and comes back."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from gateway.fleet.circuits import LONGEST_PAUSE_SECONDS
from loadtests.engine.ledger import Ledger
from loadtests.engine.stand import LOCAL, Stand, until
from loadtests.engine.waits import fate, idle, is_up, reached, served

STREAMS = ("chat/completions", "chat/completions", "completions", "responses", "messages")
PLAIN = 2
"""One that must stay, one that may be bought."""
FRAMES = 3
"""Each stream has delivered so many before the engine dies."""
STARTED_SECONDS = 20.0
NOTICED_SECONDS = 5.0
ENDED_SECONDS = 20.0
BACK_SECONDS = LONGEST_PAUSE_SECONDS + 10.0


@dataclass(slots=True)
class Cut:
    """One stream, as it came."""

    path: str
    frames: list[str] = field(default_factory=list)

    async def read(self, stand: Stand) -> None:
        async with stand.http.stream(
            "POST", f"/v1/{self.path}", json=_endless(stand, self.path), headers=LOCAL
        ) as answer:
            answer.raise_for_status()
            frame: list[str] = []
            async for line in answer.aiter_lines():
                if line:
                    frame.append(line)
                elif frame:
                    self.frames.append("\n".join(frame))
                    frame = []

    def ending(self) -> tuple[str, bool]:
        """The code in its last frame if that has the shape of its API, and whether a [DONE] came."""
        if not self.frames:
            return "no frame came", False
        data = json.loads(self.frames[-1].rpartition("data: ")[2])
        error = data.get("error") or {}
        if self.path == "messages":
            error = {"code": error.get("details", {}).get("error_code")} if data.get("type") == "error" else {}
        named = self.path in ("responses", "messages")
        code = error.get("code") if self.frames[-1].startswith("event: error") is named else "in the wrong shape"
        return str(code), any("[DONE]" in frame for frame in self.frames)


async def killed(stand: Stand, ledger: Ledger) -> None:
    """SIGKILL under load; what then; and how traffic returns."""
    life = (await stand.reading()).life
    streams = [Cut(path) for path in STREAMS]
    reading = [asyncio.create_task(stream.read(stand)) for stream in streams]
    stays, may_leave = (
        asyncio.create_task(stand.http.post("/v1/chat/completions", json=stand.long(), headers=headers))
        for headers in (LOCAL, {})
    )
    ready, _ = await until(lambda: _flowing(stand, streams), STARTED_SECONDS)
    early = [_ended(task) for task in (*reading, stays, may_leave) if task.done()]
    seen = f"{await stand.running()} running, frames {[len(stream.frames) for stream in streams]}, ended {early}"
    said = f"{len(STREAMS) + PLAIN} running, each stream under way"
    ledger.add("before the kill", said, seen, bool(ready))
    stand.engine.kill()
    began = time.monotonic()
    _, late = await asyncio.wait([*reading, stays, may_leave], timeout=ENDED_SECONDS)
    took = time.monotonic() - began
    ledger.add("requests that hang", "0", f"{len(late)}; all had ended after {took:.1f} s", not late)
    if late:
        return
    for stream in streams:
        ledger.add(
            f"a {stream.path} stream: error in its last frame, [DONE]", ("upstream_error", False), stream.ending()
        )
    ledger.add(
        "a plain request that must stay: status", "502 or 503", stays.result().status_code, _is_down(stays.result())
    )
    saved = (may_leave.result().status_code, fate(may_leave.result().headers)[0])
    ledger.add("a plain request that may be bought: status, outcome", (200, "fallback"), saved)
    await _while_down(stand, ledger)
    await _comes_back(stand, ledger, life)


async def _while_down(stand: Stand, ledger: Ledger) -> None:
    down, took = await until(lambda: is_up(stand, False), NOTICED_SECONDS)
    ledger.add("gateway_upstream_up", "0", f"{'0' if down else '1'} after {took:.1f} s", bool(down))
    bought = await stand.http.post("/v1/chat/completions", json=stand.body(max_tokens=4))
    seen = (bought.status_code, *fate(bought.headers))
    ledger.add("the next request: status, outcome, reason", (200, "fallback", "no_healthy_worker"), seen)
    flagged = await stand.http.post("/v1/chat/completions", json=stand.body(max_tokens=4), headers=LOCAL)
    refused = (flagged.status_code, flagged.json()["error"]["code"], "retry-after" in flagged.headers)
    ledger.add("a flagged request: status, code, Retry-After", (503, "no_capacity", True), refused)
    free, took = await until(lambda: _no_lease(stand), NOTICED_SECONDS)
    ledger.add("leases on the dead engine", "0", f"{await stand.leases()} after {took:.1f} s", bool(free))


async def _comes_back(stand: Stand, ledger: Ledger, life: int) -> None:
    stand.engine.start()
    await stand.engine.ready()
    back, took = await until(lambda: served(stand, "local"), BACK_SECONDS)
    said = f"local within {BACK_SECONDS:g} s"
    ledger.add("a request after the restart", said, f"{back or 'not local'} {took:.1f} s after /health", bool(back))
    again, _ = await until(lambda: is_up(stand, True), NOTICED_SECONDS)
    ledger.add("gateway_upstream_up, life", (1, life + 1), (int(bool(again)), (await stand.reading()).life))
    await idle(stand)
    ledger.add("leases at the end", 0, await stand.leases())


def _endless(stand: Stand, path: str) -> dict[str, Any]:
    """A body for `path` that writes until the context is full."""
    body = stand.long(stream=True)
    if path == "completions":
        return {**body, "prompt": "hello", "messages": None}
    if path == "responses":
        cap = body["max_tokens"]
        return {"model": body["model"], "input": "hello", "max_output_tokens": cap, "stream": True, "ignore_eos": True}
    return body


async def _flowing(stand: Stand, streams: list[Cut]) -> bool:
    return all(len(stream.frames) >= FRAMES for stream in streams) and bool(await reached(stand, len(STREAMS) + PLAIN))


async def _no_lease(stand: Stand) -> bool:
    return await stand.leases() == 0


def _ended(task: asyncio.Task[httpx.Response] | asyncio.Task[None]) -> str:
    """How a request ended that should not have."""
    if fault := task.exception():
        return f"{type(fault).__name__}: {fault}"
    answer = task.result()
    return "a stream at its end" if answer is None else str(answer.status_code)


def _is_down(answer: httpx.Response) -> bool:
    return (answer.status_code, answer.json()["error"]["code"]) in ((502, "upstream_error"), (503, "no_capacity"))
