"""An upload that has to be whole before it can go on, kept on disk: nameless from the start, so that nothing of it is
left by a process that is killed."""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from gateway.errors import NoCapacity

PIECE = 256 << 10
RETRY_AFTER_SECONDS = 30
T = TypeVar("T")


class Held:
    """One that is so small that it is here with its fields: it stays in memory."""

    def __init__(self, data: bytes) -> None:
        self._data, self.size = data, len(data)

    async def read(self, at: int) -> bytes:
        return self._data[at : at + PIECE]

    def close(self) -> None:
        self._data = b""


class Spool:
    """A file that only this process can reach. Disks are slow: they are waited for in a thread, which may still be at
    work when whoever waited is gone. The file is closed behind it: its number may be another upload's next."""

    def __init__(self, folder: Path, floor: int = 0) -> None:
        """`folder` is made with mode 0700 where it is not there; `floor`: bytes of its disk that stay free, whatever
        all spools together hold. Raises NoCapacity."""
        self.size = 0
        self._floor = floor
        self._working = 0
        self._closed = False
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = _nameless(folder)
        except OSError as fault:
            raise _full(fault) from None

    async def write(self, data: bytes) -> None:
        """Raises NoCapacity."""
        try:
            await self._in_thread(lambda: self._write(data))
        except OSError as fault:
            raise _full(fault) from None
        self.size += len(data)

    async def read(self, at: int) -> bytes:
        """A piece from `at` on; b"" at the end."""
        return await self._in_thread(lambda: os.pread(self._file, PIECE, at))

    def close(self) -> None:
        """Idempotent. Nothing is written or read after it."""
        if not self._closed:
            self._closed = True
            self._close_when_idle()

    def _write(self, data: bytes) -> None:
        disk = os.fstatvfs(self._file)
        if disk.f_bavail * disk.f_frsize - len(data) < self._floor:
            raise OSError(errno.ENOSPC, "")
        _write(self._file, data, self.size)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise RuntimeError("the spool is closed")
        self._working += 1
        future = asyncio.get_running_loop().run_in_executor(None, work)
        future.add_done_callback(self._worked)
        return await asyncio.shield(future)

    def _worked(self, future: asyncio.Future[T]) -> None:
        if not future.cancelled():
            future.exception()  # whoever waited for it may be gone
        self._working -= 1
        self._close_when_idle()

    def _close_when_idle(self) -> None:
        if self._closed and not self._working:
            os.close(self._file)


def _write(file: int, data: bytes, at: int) -> None:
    left = memoryview(data)
    while left:
        written = os.pwrite(file, left, at)
        at, left = at + written, left[written:]


def _nameless(folder: Path) -> int:
    with suppress(OSError):  # not every file system can make one without a name
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    file, name = tempfile.mkstemp(dir=folder)
    os.unlink(name)
    return file


def _full(fault: OSError) -> NoCapacity:
    return NoCapacity(
        f"the upload cannot be kept meanwhile ({os.strerror(fault.errno or 0)}); send `model` before the file",
        retry_after=RETRY_AFTER_SECONDS,
    )
