"""The client's end of a job: its record instead of a socket. What is answered to it is kept, not sent."""

from __future__ import annotations

import asyncio
import re
import time
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from typing import Any

import msgspec

from gateway.edge.account import Account
from gateway.edge.job_checks import may_be_kept
from gateway.edge.replies import NOT_AGAIN
from gateway.errors import ArtefactFault, DeadlineExceeded, GatewayError, OrderLost, UpstreamFault
from gateway.jobs.artefacts import Artefacts, Lies, Stored
from gateway.jobs.record import Job, Try
from gateway.jobs.work import Log, Outcome
from gateway.model import Artefact, Demand, Policy, Upstream, Usage
from gateway.upstreams import fetch
from gateway.upstreams.client import TooLong
from gateway.upstreams.results import Opened, Results

REFUSED = 400
FETCH_SECONDS = 120.0
"""For a picture at an address that an upstream answered with."""
ELSEWHERE = frozenset({"handover", "lost"})
"""Reasons to stop for which another process goes on with what was ordered."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_PICTURES = "image/"


class _Said(msgspec.Struct):
    code: str | None = None
    message: str | None = None


class _Refusal(msgspec.Struct):
    error: _Said


class _Picture(msgspec.Struct):
    b64_json: str | None = None
    url: str | None = None


class _Pictures(msgspec.Struct):
    data: list[_Picture]
    output_format: str | None = None


class JobWire:
    """`edge.wire.JobEnd`. `account` is set once there is one: how each attempt ended is read from it."""

    def __init__(self, log: Log, artefacts: Artefacts, most: int, lies: Lies) -> None:
        self._log, self._artefacts, self._most, self._lies = log, artefacts, most, lies
        self.account: Account | None = None
        self.on_left: Callable[[], None] | None = None
        self.on_room: Callable[[], None] | None = None
        self.kept: list[Artefact] = []
        self.usage: Usage | None = None
        self._answer: tuple[int, bytes] | None = None
        self._again = True
        self._pieces = bytearray()
        self._fault: ArtefactFault | None = None
        self._local = False

    # What `Forward` and whoever relays ask of any client.

    disconnected = stalled = paused = False

    def answer(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        self._answer, self._again = (status, body), NOT_AGAIN not in headers

    def begin(self, status: int, headers: Sequence[tuple[bytes, bytes]], piece: bytes) -> None:
        """Pictures that are more than is held back for their usage come piece by piece."""
        self._answer, self._pieces = (status, b""), bytearray(piece)

    def write(self, piece: bytes) -> None:
        if len(self._pieces) + len(piece) > self._most:
            self._fault = ArtefactFault(ArtefactFault.TOO_LARGE, f"the answer has more than {self._most} bytes")
        else:
            self._pieces += piece

    def finish(self) -> None:
        if self._answer is not None:
            self._answer = self._answer[0], bytes(self._pieces)

    def cut(self) -> None:
        self._fault = ArtefactFault(ArtefactFault.UNAVAILABLE, "the answer broke off")

    # What whoever fills an order asks of a job.

    @property
    def job(self) -> JobWire:
        return self

    @property
    def name(self) -> str:
        return self._log.job.id

    @property
    def bound(self) -> str | None:
        """The upstream that has its order: nobody else can go on with it."""
        one = self._log.job.open
        return one.upstream if one is not None and one.ticket is not None else None

    def ticket(self, upstream: Upstream) -> str | None:
        one = self._log.job.open
        if one is None or one.upstream != upstream.name:
            return None
        self._local = upstream.kind == "local"
        if self._log.stopped is not None and self._log.stopped not in ELSEWHERE:
            self.leave()  # it was cancelled, or is too late, and was resumed only to take its order back
        return one.ticket

    def check(self, demand: Demand, policy: Policy) -> None:
        may_be_kept(self._lies, demand, policy)

    def attempt(self, upstream: Upstream) -> str | None:
        one = self._log.job.open
        return one.attempt if one is not None and one.ticket is not None and one.upstream == upstream.name else None

    def may_send(self) -> None:
        self._log.may_send()

    def leave(self) -> None:
        """Whatever it waits for now ends as for a client that has left."""
        asyncio.get_running_loop().call_soon(lambda: self.on_left() if self.on_left is not None else None)

    def log(self, attempt: str, upstream: Upstream) -> OrderLog:
        self._local = upstream.kind == "local"
        return OrderLog(self._log, self.tried, attempt, upstream)

    async def take(self, usage: Usage, results: Results) -> None:
        """What was bought is not bought again because it cannot be kept; a worker of ours may do it once more."""
        self.usage, self.kept, self._fault = usage, [], None
        try:
            await results.each(self._keep)
        except OrderLost as fault:
            large = isinstance(fault.__cause__, TooLong)
            self._fault = ArtefactFault(ArtefactFault.TOO_LARGE if large else ArtefactFault.UNAVAILABLE, fault.message)
            if self._local and not large:
                raise
        except ArtefactFault as fault:
            self._fault = fault

    # What the job asks of it.

    async def tried(self) -> None:
        """The newest try is over, if there is one, and the job is not."""
        if (result := self.result) is not None:
            await self._log.tried(result)

    @property
    def result(self) -> str | None:
        """How the newest try ended, as its attempt says; None: there is none."""
        one = self._log.job.open
        if one is None:
            return None
        attempts = [] if self.account is None else self.account.attempts
        results = [each.result for each in attempts if each.upstream == one.upstream and each.ended]
        return results[-1] if results else "answered" if self.kept else "cancelled"

    async def outcome(self) -> Outcome:
        """Of all that was answered, with the pictures kept that a whole answer holds."""
        if self._answer is not None and self._answer[0] < REFUSED and not self.kept and self._fault is None:
            await self._unpack(self._answer[1])
        if self._fault is not None:
            return Outcome.failed(self._fault.code, self._fault.message)
        if self.kept:
            seconds = self.usage.seconds if self.usage is not None and self.usage.seconds else None
            return Outcome("succeeded", tuple(self.kept), seconds=seconds)
        return Outcome.failed(*_said(self._answer))

    @property
    def busy(self) -> bool:
        """Whether it was told to come again: nothing had room for it. Not where a bought API was asked and may have
        taken it: a 503 of its own says that nobody knows."""
        return self._answer is not None and self._again and _said(self._answer)[0] in BUSY

    @property
    def late(self) -> bool:
        """Whether its own time was over before it was done: no other deadline is its request's."""
        return self._answer is not None and not self.kept and _said(self._answer)[0] == DeadlineExceeded.code

    @property
    def unknown(self) -> bool:
        """Whether a bought order left and nothing came back for it, not even a refusal: it may have been taken."""
        one, attempts = self._log.job.open, [] if self.account is None else self.account.attempts
        if one is None or not one.managed or one.ticket is not None or not attempts or self.kept:
            return False
        last = attempts[-1]
        return last.id == one.attempt and not last.free and last.status is None

    @property
    def failed(self) -> bool:
        """Whether anybody was asked, and did not do it."""
        return self.account is not None and bool(self.account.attempts) and not self.kept

    # Keeping.

    async def _keep(self, opened: Opened) -> Artefact:
        stored = await self._put(opened.chunks)
        return self._artefact(stored, opened.media_type, opened.name)

    async def _put(self, chunks: AsyncIterable[bytes]) -> Stored:
        job = self._log.job
        return await self._artefacts.put(chunks, job.expires, piece_of(job, len(self.kept)))

    def _artefact(self, stored: Stored, media_type: str, name: str) -> Artefact:
        """`name` as its dialect has it, unless it is none or taken."""
        number = len(self.kept)
        if _NAME.fullmatch(name) is None or any(one.name == name for one in self.kept):
            if self._log.job.endpoint == "videos":
                name = "thumbnail" if media_type.startswith(_PICTURES) else "video"
                name += f"-{number}" if any(one.name == name for one in self.kept) else ""
            else:
                name = f"image-{number}"
        one = Artefact(stored.id, media_type, stored.size, stored.digest, name)
        self.kept.append(one)
        return one

    async def _unpack(self, body: bytes) -> None:
        """The answer of an upstream that makes pictures while one waits, in OpenAI's shape."""
        try:
            answer = msgspec.json.decode(body, type=_Pictures)
        except msgspec.DecodeError:
            self._fault = ArtefactFault(ArtefactFault.UNAVAILABLE, "answered without pictures")
            return
        kind = f"image/{answer.output_format or 'png'}"
        try:
            for picture in answer.data:
                if picture.b64_json is not None:
                    stored = await self._put(_one(b64decode(picture.b64_json, validate=True)))
                    self._artefact(stored, kind, "")
                elif picture.url is not None:
                    await self._fetch(picture.url)
        except (NotBase64, UpstreamFault) as fault:
            self._fault = ArtefactFault(ArtefactFault.UNAVAILABLE, f"a picture that cannot be had: {fault}")
        except ArtefactFault as fault:
            self._fault = fault
        if not self.kept and self._fault is None:
            self._fault = ArtefactFault(ArtefactFault.UNAVAILABLE, "answered without pictures")

    async def _fetch(self, url: str) -> None:
        async with fetch.open(url, hosts=None, most=self._most, seconds=FETCH_SECONDS) as opened:
            stored = await self._put(opened.pieces())
            self._artefact(stored, opened.media_type or "image/png", "")


BUSY = frozenset({"no_capacity", "fleet_saturated"})


def piece_of(job: Job, number: int) -> str:
    """What its newest attempt made as so manieth: another process that goes on with it makes the same, no other
    attempt does."""
    return f"{job.id} {job.tries[-1].attempt if job.tries else ''} {number}"


class OrderLog:
    """`upstreams.orders.Log` of one attempt, in the job's record."""

    def __init__(self, log: Log, before: Callable[[], Any], attempt: str, upstream: Upstream) -> None:
        self._log, self._before, self._attempt, self._upstream = log, before, attempt, upstream

    @property
    def resumable(self) -> bool:
        return self._log.stopped is None or self._log.stopped in ELSEWHERE

    async def intent(self) -> None:
        await self._before()
        one = self._upstream
        at = time.time()
        await self._log.intent(
            Try(attempt=self._attempt, upstream=one.name, backend=one.backend, managed=one.kind == "managed", at=at)
        )

    async def ticket(self, text: str) -> None:
        await self._log.ticket(text)

    async def progress(self, percent: int) -> None:
        await self._log.progress(percent)


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _said(answer: tuple[int, bytes] | None) -> tuple[str, str]:
    """Code and message of a refusal, in whichever shape; an upstream's own words are its own."""
    if answer is None:
        return GatewayError.code, "nothing was answered"
    try:
        said = msgspec.json.decode(answer[1], type=_Refusal).error
    except msgspec.DecodeError:
        return "upstream_error", f"answered {answer[0]}"
    return said.code or "upstream_error", said.message or f"answered {answer[0]}"
