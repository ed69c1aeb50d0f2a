"""A form with a file on its way through: from the client to an upstream as it comes, or by way of the disk.

What is needed to route it comes before the file, or it is kept on disk until it has come. A form that passes through
can be sent once; one on disk, or so small that it is waited for, to as many upstreams as its rule has attempts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from gateway.edge.ahead import Ahead
from gateway.edge.body import ClientLeft
from gateway.edge.form import FILE, Field, FormReader, FormWriter
from gateway.edge.replies import Receive
from gateway.edge.spool import Held, Spool
from gateway.edge.verdict import passed
from gateway.errors import DeadlineExceeded, InvalidRequest, RequestTooLarge
from gateway.routing.fields import NEUTRAL
from gateway.upstreams.dialects.sound import HEAD_BYTES, length_of
from gateway.upstreams.http1 import Source

MODEL, METADATA = "model", "metadata"
RESIDENCY = "metadata[data_residency]"
"""How SDKs write an object in a form."""
ONCE = (MODEL, METADATA, RESIDENCY, "stream", "response_format", "prompt")
SMALL_BYTES = 64 << 10
"""A form of at most so many is here whole before it is routed, however many reads it comes in: what becomes of it when
a worker fails must not hang on how its client's writes fell."""
_EARLY = frozenset({MODEL, METADATA, *NEUTRAL})
"""Fields that say where the file may go, or about which a rule has a say: too late once it has left."""


@dataclass(slots=True)
class Bounds:
    """Of one upload: bytes in all, seconds without any, and the moments (monotonic) at which it must be here."""

    most: int
    pause: float
    until: float
    deadline: float | None = None
    """Its caller's own."""


class Sending(Source, Protocol):
    """One try to send it. `whole`: the upstream was given all of it."""

    content_type: bytes
    whole: bool


class Upload:
    """One form. `begin` first; then `spool` where it is not `routable`, or else it passes through. Must be closed."""

    def __init__(self, receive: Receive, content_type: bytes, bounds: Bounds) -> None:
        """Raises UnsupportedMedia or InvalidRequest."""
        self.form = FormReader(content_type)
        self.bounds = bounds
        self.size = 0
        """Of the file, as far as it has passed."""
        self._early = 0
        """Fields that it was routed by."""
        self._receive = Ahead(receive)
        self._came = 0
        self._ended = False
        self._head = b""
        """The beginning of the file."""
        self._kept: Held | Spool | None = None

    async def begin(self, length: int | None = None) -> None:
        """Reads the form up to its file, and to its end if it is small. `length`: as the request says. Raises as `more`
        does, and InvalidRequest where there is no file."""
        small = length is not None and length <= SMALL_BYTES
        while (small or self.form.file is None) and await self.more():
            pass
        if self.form.file is None:
            raise InvalidRequest("`file` is missing: send it as a part with a file name", param=FILE)
        self._head, self._early = self.form.peek()[:HEAD_BYTES], len(self.form.fields)
        if self._ended:
            file = self.form.take()
            self.passed(file)
            self._kept = Held(file)

    @property
    def routable(self) -> bool:
        """What routing needs is here already."""
        return any(one.name == MODEL for one in self.form.fields)

    async def spool(self, folder: Path, floor: int) -> None:
        """Reads it to its end, onto the disk (`floor`: bytes of it to stay free). Raises as `more`, and NoCapacity."""
        self._kept = spool = Spool(folder, floor)
        more = True
        while more:
            if data := self.form.take():
                self.passed(data)
                await spool.write(data)
            more = await self.more()

    def watch(self, folder: Path, floor: int) -> None:
        """From now on it is read in any case, so that a client that leaves is heard. What nobody takes yet lies in
        `folder`."""
        if self._kept is None:
            self._receive.watch(lambda: Spool(folder, floor))

    async def more(self) -> bool:
        """The next of what the client sends; False where it has sent all. Raises InvalidRequest, RequestTooLarge,
        DeadlineExceeded or ClientLeft."""
        if self._ended:
            return False
        message = await self._next()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        data: bytes = message.get("body", b"")
        self._came += len(data)
        if self._came > self.bounds.most:
            raise RequestTooLarge(f"an upload may have at most {self.bounds.most} bytes", param=FILE)
        self.form.feed(data)
        self._ended = not message.get("more_body", False)
        if self._ended:
            self.form.close()
        return True

    async def _next(self) -> MutableMapping[str, Any]:
        bounds, now = self.bounds, time.monotonic()
        until = bounds.until if bounds.deadline is None else min(bounds.until, bounds.deadline)
        try:
            async with asyncio.timeout(min(bounds.pause, until - now)):
                return await self._receive()
        except TimeoutError:
            if passed(bounds.deadline):
                raise DeadlineExceeded("the deadline passed before the upload was here") from None
            raise InvalidRequest(f"the upload stood still for {bounds.pause:g} s, or took too long") from None

    def passed(self, data: bytes) -> None:
        """A piece of the file is on its way."""
        if len(self._head) < HEAD_BYTES:
            self._head = (self._head[: self.size] + data)[:HEAD_BYTES]
        self.size += len(data)

    @property
    def repeatable(self) -> bool:
        """Nothing of the file has left that is not here any more."""
        return self._kept is not None or not self.size

    def seconds(self) -> float:
        """Of the sound, as far as it has passed."""
        return length_of(self._head, self.size).seconds

    def expected(self, length: int | None) -> float | None:
        """The same of all of it, from what the request says of its length; None where nothing tells."""
        if self._kept is not None:
            return self.seconds()
        return None if length is None else length_of(self._head, length).seconds

    def source(self, model: str, removed: Collection[str]) -> Sending:
        """To be sent to one upstream, with its own name of the model."""
        if self._kept is None:
            return _Streamed(self, model, removed)
        return _Kept(self, self._kept, model, removed)

    def sent_fields(self, model: str, removed: Collection[str]) -> list[Field]:
        """All that are here."""
        return [self._sent(one, model) for one in self.form.fields if one.name not in removed]

    def early_fields(self, model: str, removed: Collection[str]) -> list[Field]:
        """Those that it was routed by."""
        return [self._sent(one, model) for one in self.form.fields[: self._early] if one.name not in removed]

    def late_fields(self) -> list[Field]:
        """Those behind the file. Raises InvalidRequest for one that comes too late, or again."""
        early, late = self.form.fields[: self._early], self.form.fields[self._early :]
        said = {one.name for one in early}
        for one in late:
            name = one.name.partition("[")[0]
            if name in _EARLY:
                raise InvalidRequest(f"`{name}` must come once, and before the file", param=name)
            if one.name in ONCE and one.name in said:
                raise InvalidRequest(f"`{name}` must come once", param=name)
            said.add(one.name)
        return late

    @staticmethod
    def _sent(one: Field, model: str) -> Field:
        return Field(MODEL, model) if one.name == MODEL else one

    def close(self) -> None:
        self._receive.close()
        self.form.drop()
        if self._kept is not None:
            self._kept.close()


class _Streamed:
    """As it comes. The client is read when the upstream has taken what came before."""

    length = None

    def __init__(self, upload: Upload, model: str, removed: Collection[str]) -> None:
        self.whole = False
        self._upload, self._writer = upload, FormWriter()
        self.content_type = self._writer.content_type
        file = upload.form.file
        assert file is not None  # noqa: S101 - the form has begun
        self._front = self._writer.fields(upload.early_fields(model, removed)) + self._writer.file(file)

    async def read(self) -> bytes:
        upload = self._upload
        if self._front:
            front, self._front = self._front, b""
            return front
        if self.whole:
            return b""
        while not (data := upload.form.take()):
            if not await upload.more():
                return self._end()
        upload.passed(data)
        return data

    def _end(self) -> bytes:
        late = self._writer.fields(self._upload.late_fields())
        self.whole = True
        return b"\r\n" + late + self._writer.end()


class _Kept:
    """From the disk, or from memory, from its beginning."""

    def __init__(self, upload: Upload, kept: Held | Spool, model: str, removed: Collection[str]) -> None:
        writer, file = FormWriter(), upload.form.file
        assert file is not None  # noqa: S101 - the form is whole
        self.content_type = writer.content_type
        self.whole = False
        self._kept, self._at = kept, 0
        self._front = writer.fields(upload.sent_fields(model, removed)) + writer.file(file)
        self._end = b"\r\n" + writer.end()
        self.length = len(self._front) + kept.size + len(self._end)

    async def read(self) -> bytes:
        if self._front:
            front, self._front = self._front, b""
            return front
        if data := await self._kept.read(self._at):
            self._at += len(data)
            return data
        end, self._end, self.whole = self._end, b"", True
        return end
