"""The plan's jobs for whoever sends them, their bodies, and the results on their way back: one JSON line each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from loadtests.plan import Job, Plan, Result

LEAD_SECONDS = 1.5
"""From the test's start to the plan's: every user is there by then."""
DRAIN_SECONDS = 30.0
"""How long answers may still take after the plan's end."""
BYTES_PER_TOKEN = 4.2
"""English text in the Llama 3 tokenizer, about; the simulator and the gateway's prior count the same way."""
FILLER = b"the quick brown fox jumps over the lazy dog while the router counts its tokens " * 1000
STRIDE = 977
"""Neighbouring prompts start at different letters."""
MESSAGES = b'[{"role":"user","content":"%b"}]'


class Feed:
    """Hands out the jobs in order; `over` tells when everything is answered or has had its time."""

    def __init__(self, plan: Plan, results: BinaryIO) -> None:
        self.plan = plan
        self._jobs: Iterator[tuple[int, Job]] = enumerate(plan.jobs)
        self._file = results
        self._origin = time.monotonic()
        self._open = len(plan.jobs)

    def start(self) -> None:
        """The first line tells the plan's origin on the system's monotonic clock, which all processes share."""
        self._origin = time.monotonic() + LEAD_SECONDS
        self._file.write(b"%r\n" % self._origin)

    def now(self) -> float:
        return time.monotonic() - self._origin

    def claim(self) -> tuple[int, Job] | None:
        return next(self._jobs, None)

    def done(self, result: Result) -> None:
        self._open -= 1
        self._file.write(msgspec.json.encode(result) + b"\n")

    def over(self) -> bool:
        return self._open == 0 or self.now() > self.plan.seconds + DRAIN_SECONDS


class Tail:
    """Reads a file of results while it grows."""

    def __init__(self, path: Path) -> None:
        self.origin: float | None = None
        """On time.monotonic(); None until the test has begun."""
        self.results: list[Result] = []
        self._path, self._at, self._rest = path, 0, b""
        self._decoder = msgspec.json.Decoder(Result)

    def read(self) -> None:
        """Take in what was written since the last call; a line that is not whole yet is left for the next."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._at)
            new = file.read()
        self._at += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            if self.origin is None:
                self.origin = float(line)
            else:
                self.results.append(self._decoder.decode(line))


def body(model: str, job: Job, number: int) -> bytes:
    """The request as JSON, built from bytes: `messages` weighs what `job.prompt` tokens of text would."""
    length = max(1, int(job.prompt * BYTES_PER_TOKEN) - len(MESSAGES % b""))
    start = number * STRIDE % (len(FILLER) - length)
    return b'{"model":"%b","messages":%b,"max_tokens":%d,"ignore_eos":true,"stream":%b}' % (
        model.encode(),
        MESSAGES % FILLER[start : start + length],
        job.output,
        b"true" if job.stream else b"false",
    )


def judge(job: Job, status: int, content: bytes) -> str:
    """Why an answer counts as failed, or nothing. A shed request (429) is no failure."""
    if status == 429:
        return ""
    if status != 200:
        return f"status {status}"
    whole = content.rstrip().endswith(b"data: [DONE]" if job.stream else b"}")
    return "" if whole else "cut off"
