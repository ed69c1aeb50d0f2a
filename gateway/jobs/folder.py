"""Artefacts in a folder: of this machine, or one that all replicas share. What touches the disk runs in threads."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
import time
from collections.abc import AsyncIterable, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import FileIO
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import TypeVar

from gateway.errors import ArtefactFault
from gateway.jobs.artefacts import CHUNK, Stored, new_id, over, shard

THREADS = 8
"""More do not make a disk faster, and what is asked for first is read first."""
UNFINISHED, DRAFT_BYTES = "unfinished", 4
UNFINISHED_SECONDS = 6 * 3600
"""What has not been written for so long belongs to a process that is no more."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
T = TypeVar("T")


class Folder:
    """`most`: bytes of one artefact. `floor`: bytes that must stay free on its disk."""

    def __init__(self, root: Path, most: int, floor: int = 0) -> None:
        self._root, self._most, self._floor = root, most, floor
        self._threads = ThreadPoolExecutor(THREADS, "artefacts")

    async def put(self, chunks: AsyncIterable[bytes], expires: float, of: str) -> Stored:
        await self.room()
        id = new_id(expires, of)
        # Two processes may believe that it is theirs to make.
        draft = _Draft(self._root / UNFINISHED / f"{id}.{token_hex(DRAFT_BYTES)}")
        try:
            await self._do(draft.begin)
            held = bytearray()
            async for chunk in chunks:
                held += chunk
                if len(held) >= CHUNK:
                    await self._write(draft, bytes(held))
                    held.clear()
            await self._write(draft, bytes(held))
            digest = await self._do(lambda: draft.keep(self._path(id)))
        except BaseException:
            self._soon(draft.drop)
            raise
        return Stored(id, draft.size, digest)

    async def open(self, id: str, offset: int = 0) -> FileReading | None:
        path = self._path(id)
        try:
            opened = await self._do(lambda: os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except FileNotFoundError:
            return None
        return FileReading(opened, offset, self._do, self._soon)

    async def exists(self, id: str) -> bool:
        return await self._do(self._path(id).is_file)

    async def delete(self, id: str) -> None:
        await self._do(lambda: self._path(id).unlink(missing_ok=True))

    async def sweep(self, now: float) -> int:
        return await self._do(lambda: self._sweep(now))

    async def room(self) -> None:
        if self._floor and await self._do(self._free) < self._floor:
            what = f"less than {self._floor} bytes are free where artefacts are kept"
            raise ArtefactFault(ArtefactFault.FULL, what)

    async def aclose(self) -> None:
        """Waits for what was begun: pieces, and what is dropped."""
        await asyncio.to_thread(self._threads.shutdown)

    async def _do(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except FileNotFoundError:
            raise
        except OSError as fault:  # its text holds a path
            said = f"the folder of artefacts: {os.strerror(fault.errno or 0)}"
            code = ArtefactFault.FULL if fault.errno in _FULL else ArtefactFault.UNAVAILABLE
            raise ArtefactFault(code, said) from None

    def _soon(self, work: Callable[[], None]) -> None:
        """Not awaited: it happens although we are cancelled."""
        with suppress(RuntimeError):  # the process ends, and with it all that is open
            self._threads.submit(work)

    async def _write(self, draft: _Draft, piece: bytes) -> None:
        if draft.size + len(piece) > self._most:
            raise ArtefactFault(ArtefactFault.TOO_LARGE, f"the result has more than {self._most} bytes")
        await self._do(lambda: draft.write(piece))

    def _path(self, id: str) -> Path:
        return self._root / shard(id) / id

    def _free(self) -> int:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        return shutil.disk_usage(self._root).free

    def _sweep(self, now: float) -> int:
        gone = 0
        with suppress(FileNotFoundError):
            for place in list(self._root.iterdir()):
                if over(place.name, now):
                    gone += sum(1 for _ in place.iterdir())
                    shutil.rmtree(place, ignore_errors=True)
        with suppress(FileNotFoundError):
            for draft in list((self._root / UNFINISHED).iterdir()):
                if draft.stat().st_mtime < time.time() - UNFINISHED_SECONDS:
                    draft.unlink(missing_ok=True)
        return gone


class _Draft:
    """A file that is being written. Its lock: whoever is cancelled does not wait for the thread that still writes."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock, self._digest = path, Lock(), hashlib.sha256()
        self._file: FileIO | None = None
        self._dropped = False
        self.size = 0

    def begin(self) -> None:
        place = self._path.parent
        for each in (place.parent, place):  # of what it makes on the way, mkdir lets everybody read
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock:
            if not self._dropped:  # its caller has been cancelled meanwhile
                opened = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
                self._file = FileIO(opened, "wb")

    def write(self, piece: bytes) -> None:
        with self._lock:
            if self._file is None or self._file.closed:
                return
            left = memoryview(piece)
            while left:  # a disk that is nearly full takes a part, and says so with the next call
                left = left[self._file.write(left) :]
            self._digest.update(piece)
            self.size += len(piece)

    def keep(self, path: Path) -> str:
        """Gives it its name once its bytes are on the disk; its digest."""
        assert self._file is not None  # noqa: S101 - it was begun
        with self._lock, self._file as file:
            os.fsync(file.fileno())
            path.parent.mkdir(mode=0o700, exist_ok=True)
            os.rename(self._path, path)
            for place in (path.parent, path.parent.parent):  # its name, and that of a shard that is new
                _sync(place)
        return self._digest.hexdigest()

    def drop(self) -> None:
        with self._lock:
            self._dropped = True
            if self._file is not None:
                self._file.close()
            self._path.unlink(missing_ok=True)


class FileReading:
    """Goes on although the file is deleted meanwhile. Its lock: of whoever leaves, a thread may still be reading.

    All its pieces are read into one buffer, made by the event loop's thread: what others allocate comes out of arenas
    of their own, of which 500 downloads made twice as much as they held.
    """

    def __init__(
        self,
        opened: int,
        offset: int,
        do: Callable[[Callable[[], int]], Awaitable[int]],
        soon: Callable[[Callable[[], None]], None],
    ) -> None:
        self._opened, self._offset, self._do, self._soon, self._lock = opened, offset, do, soon, Lock()
        self._buffer = memoryview(bytearray(CHUNK))
        self.size = os.fstat(opened).st_size

    async def read(self) -> memoryview:
        size = await self._do(self._read)
        self._offset += size
        return self._buffer[:size]

    async def aclose(self) -> None:
        self._soon(self._close)

    def _read(self) -> int:
        with self._lock:  # once closed, the number may be that of another file
            return os.preadv(self._opened, [self._buffer], self._offset) if self._opened >= 0 else 0

    def _close(self) -> None:
        with self._lock:
            opened, self._opened = self._opened, -1
            if opened >= 0:
                os.close(opened)


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
