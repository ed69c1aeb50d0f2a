"""What is kept on disk while it is an upload: by nobody's name, for nobody else."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from gateway.edge.spool import Held, Spool
from gateway.errors import NoCapacity
from tests.polling import until


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_it_gives_back_what_it_was_given_and_has_no_name(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "uploads")
    assert (tmp_path / "uploads").stat().st_mode & 0o777 == 0o700
    pieces = [os.urandom(300_000) for _ in range(3)]
    for piece in pieces:
        await spool.write(piece)
    assert list((tmp_path / "uploads").iterdir()) == []
    read = b""
    while data := await spool.read(len(read)):
        read += data
    assert read == b"".join(pieces)
    assert spool.size == len(read)
    spool.close()
    spool.close()


async def test_what_is_small_stays_in_memory() -> None:
    held = Held(b"hello")
    assert (held.size, await held.read(0), await held.read(5)) == (5, b"hello", b"")


async def test_a_disk_that_takes_nothing_is_no_room(tmp_path: Path) -> None:
    (tmp_path / "uploads").write_text("a file")
    with pytest.raises(NoCapacity):
        Spool(tmp_path / "uploads")


async def test_some_of_the_disk_stays_free_for_others(tmp_path: Path) -> None:
    free = os.statvfs(tmp_path)
    spool = Spool(tmp_path, floor=free.f_bavail * free.f_frsize * 2)
    with pytest.raises(NoCapacity, match="No space left"):
        await spool.write(b"x")
    assert os.fstat(spool._file).st_size == 0
    spool.close()


async def test_its_file_is_not_closed_under_a_thread_that_still_works(tmp_path: Path) -> None:
    """Else the number would be another upload's by then, and the rest of this one would be written there."""
    spool, may, here = Spool(tmp_path), threading.Event(), threading.Event()

    def work() -> int:
        here.set()
        may.wait()
        return os.pwrite(spool._file, b"late", 0)

    before = open_files()
    working = asyncio.ensure_future(spool._in_thread(work))
    await asyncio.to_thread(here.wait)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    spool.close()
    assert os.pread(spool._file, 1, 0) == b""  # it is open
    may.set()
    await until(lambda: open_files() < before)
    with pytest.raises(RuntimeError):
        await spool.read(0)
