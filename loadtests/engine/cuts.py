"""Streams that are cut off: one of every kind, read to whatever end it has."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from loadtests.engine.stand import LOCAL, Stand

KINDS = ("chat/completions", "chat/completions", "completions", "responses", "messages")
NAMED = ("responses", "messages")
"""Their events have names; an error is the event `error`."""
ENGINES_OWN = "the engine's own"
ENDED_BEFORE = "nothing: it came to its end just before"
ENDS = ("data: [DONE]", "event: response.completed", "event: response.incomplete", "event: message_stop")


@dataclass(slots=True)
class Cut:
    """One long stream to `/v1/{path}` and its frames, as they came."""

    path: str
    frames: list[str] = field(default_factory=list)

    async def read(self, stand: Stand, struck: asyncio.Event) -> None:
        """One after the other, until the engine is struck."""
        while True:
            self.frames.clear()
            await self._read_one(stand)
            if struck.is_set() or not self.whole:
                return

    async def _read_one(self, stand: Stand) -> None:
        body = _endless(stand, self.path)
        async with stand.http.stream("POST", f"/v1/{self.path}", json=body, headers=LOCAL) as answer:
            answer.raise_for_status()
            frame: list[str] = []
            async for line in answer.aiter_lines():
                if line:
                    frame.append(line)
                elif frame:
                    self.frames.append("\n".join(frame))
                    frame = []

    @property
    def whole(self) -> bool:
        """Whether it came to its own end, without an error before it."""
        failed = any(frame.startswith(("event: error", 'data: {"error"')) for frame in self.frames)
        return not failed and any(mark in frame for frame in self.frames[-1:] for mark in ENDS)

    @property
    def done(self) -> bool:
        """Whether it claims to be whole."""
        return any("data: [DONE]" in frame for frame in self.frames)

    def failure(self) -> str:
        """Of the error that ends it, in the shape of its API: our own code, else ENGINES_OWN; else what is wrong."""
        if self.whole:
            return ENDED_BEFORE
        name, _, data = (self.frames or [""])[-1].rpartition("data: ")
        try:
            error: dict[str, Any] = json.loads(data).get("error") or {}
        except (ValueError, AttributeError):
            error = {}
        if not error or name.startswith("event: error") is not (self.path in NAMED):
            return f"no error event but {self.frames[-1:]}"
        code = error.get("details", {}).get("error_code") if self.path == "messages" else error.get("code")
        return code if isinstance(code, str) else ENGINES_OWN


def _endless(stand: Stand, path: str) -> dict[str, Any]:
    """A body for `path` that writes as long as it can: vLLM's messages know no `ignore_eos`, and noise drawn at
    temperature 0 repeats itself instead of ending."""
    body = stand.long(stream=True, temperature=0)
    asked = {name: body[name] for name in ("model", "stream", "ignore_eos", "temperature")}
    if path == "completions":
        return {**asked, "prompt": "hello", "max_tokens": body["max_tokens"]}
    if path == "responses":
        return {**asked, "input": "hello", "max_output_tokens": body["max_tokens"]}
    return body
