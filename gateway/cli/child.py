"""One of several processes, as their parent sees it: `workers.py` keeps them, `siblings.py` has what is said."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from dataclasses import dataclass

from gateway.siblings import ASK

ANSWER_SECONDS = 0.25
"""A child that does not answer in this time is left out of the page but for what it had counted before."""


@dataclass(slots=True)
class Child:
    """A running process and the parent's end of the line to it."""

    process: subprocess.Popen[bytes]
    line: socket.socket
    ready: bool = False
    last: bytes | None = None
    """The latest figures it gave."""
    writer: asyncio.StreamWriter | None = None
    question: asyncio.Future[bytes | None] | None = None
    """Open from asking for its figures until it answers: a silent child is not asked again."""

    def ask(self) -> asyncio.Future[bytes | None] | None:
        """Its next figures, or None where its line ends first. No question where it has no ears yet, or no more."""
        if self.writer is None or not self.ready:
            return None
        if self.question is None:
            self.question = asyncio.get_running_loop().create_future()
            self.say(ASK)
        return self.question

    async def figures(self) -> bytes | None:
        """Its figures of now; None where it does not answer in time."""
        question = self.ask()
        if question is None:
            return None
        done, _ = await asyncio.wait([question], timeout=ANSWER_SECONDS)
        return question.result() if done else None

    def told(self, dump: bytes) -> None:
        """It gave its figures: asked for, or as its last words."""
        self.last = dump
        self._answer(dump)

    def hang_up(self) -> None:
        """Its end of the line is closed."""
        self._answer(None)
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def say(self, kind: bytes, rest: bytes = b"") -> None:
        if self.writer is not None:
            self.writer.write(b"%b %b\n" % (kind, rest))

    def _answer(self, dump: bytes | None) -> None:
        if self.question is not None:
            self.question.set_result(dump)
            self.question = None
