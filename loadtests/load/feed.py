"""The plan's jobs for whoever sends them, and the results on their way back: one JSON line each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from loadtests.load.plan import Job, Kind, Plan, Result

LEAD_SECONDS = 1.5
"""From the test's start to the plan's: every user is there by then."""


class Feed:
    """Hands out the jobs in order; `over` tells when everything is answered or has had its time."""

    def __init__(self, plan: Plan, results: BinaryIO | None = None) -> None:
        self.plan = plan
        self._jobs: Iterator[tuple[int, Job]] = enumerate(plan.jobs)
        self._file = results
        self._origin = time.monotonic()
        self._open = len(plan.jobs)

    def start(self) -> None:
        """The first line tells the plan's origin on the system's monotonic clock, which all processes share."""
        self._origin = time.monotonic() + LEAD_SECONDS
        self._write(b"%r\n" % self._origin)

    def now(self) -> float:
        return time.monotonic() - self._origin

    def claim(self) -> tuple[int, Job] | None:
        return next(self._jobs, None)

    def kind(self, job: Job) -> Kind:
        return self.plan.kinds[job.kind]

    def done(self, result: Result) -> None:
        self._open -= 1
        self._write(msgspec.json.encode(result) + b"\n")

    def over(self) -> bool:
        return self._open == 0 or self.now() > self.plan.seconds + self.plan.drain

    def _write(self, line: bytes) -> None:
        if self._file is not None:
            self._file.write(line)


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
