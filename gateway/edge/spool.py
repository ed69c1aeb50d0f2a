"""An upload that has to be whole before it can go on, kept on disk: nameless from the start, so that nothing of it is
left by a process that is killed."""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from gateway.errors import NoCapacity

PIECE = 256 << 10
RETRY_AFTER_SECONDS = 30


class Held:
    """One that is so small that it came with its fields: it stays in memory."""

    def __init__(self, data: bytes) -> None:
        self._data, self.size = data, len(data)

    async def read(self, at: int) -> bytes:
        return self._data[at : at + PIECE]

    def close(self) -> None:
        self._data = b""


class Spool:
    """A file that only this process can reach. Disks are slow: they are waited for in a thread."""

    def __init__(self, folder: Path) -> None:
        """`folder` is made with mode 0700 where it is not there. Raises NoCapacity."""
        self.size = 0
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = _nameless(folder)
        except OSError as fault:
            raise _full(fault) from None

    async def write(self, data: bytes) -> None:
        """Raises NoCapacity."""
        try:
            await asyncio.to_thread(self._write, data)
        except OSError as fault:
            raise _full(fault) from None

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            written = os.pwrite(self._file, left, self.size)
            self.size += written
            left = left[written:]

    async def read(self, at: int) -> bytes:
        """A piece from `at` on; b"" at the end."""
        return await asyncio.to_thread(os.pread, self._file, PIECE, at)

    def close(self) -> None:
        """Idempotent."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


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
