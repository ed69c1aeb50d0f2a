"""A chain being written: one line, one `write`; on the disk with the next seal."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path

from gateway.audit.lines import GENESIS, Line, make_line, part_path, parts_in, read_line

PART_BYTES = 64 << 20
"""A part that has grown to this is followed by the next one."""


class Chain:
    """Appends lines. The file exists from the first line on; the process that writes it holds its lock (flock).

    What `append` wrote is in the system's memory: it outlives the process, not the machine. `sync` puts it on the disk.
    """

    def __init__(
        self,
        key: bytes,
        folder: Path,
        name: str,
        *,
        part_bytes: int = PART_BYTES,
        after: Line | None = None,
        part: int = 0,
    ) -> None:
        """`after` and `part` are the last line and part of a chain that goes on (see `resume`)."""
        self.name = name
        self.n, self.mac = (0, GENESIS) if after is None else (after.n, after.mac)
        self._key, self._folder, self._part_bytes, self._part = key, folder, part_bytes, part
        self._file: int | None = None
        self._size = 0
        self._torn = False
        """Part of a line may lie behind the last whole one."""
        self.gone = False
        """The part being written was removed or replaced, as `sync` found; the next line begins another one."""
        self._full: list[int] = []
        """Files of parts that are full, to be synced and closed."""

    @classmethod
    def resume(cls, key: bytes, folder: Path, name: str) -> Chain:
        """Goes on in a new part behind what is there. Only for a chain that nobody else writes. Raises BadLine."""
        parts = parts_in(folder).get(name, [])
        last: Line | None = None
        for _, path in parts:
            for line in path.read_bytes().splitlines(keepends=True):
                if line.endswith(b"\n"):
                    last = read_line(key, line)
        return cls(key, folder, name, after=last, part=parts[-1][0] if parts else 0)

    def append(self, fields: bytes) -> None:
        """Adds a line. Raises OSError; the chain is then as it was."""
        line, mac = make_line(self._key, self.name, self.n + 1, self.mac, fields)
        if self._file is None or self._size >= self._part_bytes or self.gone:
            self._next_part()
        self._write(line)
        self.n, self.mac = self.n + 1, mac

    def sync(self) -> None:
        """Puts all lines so far on the disk; may run in another thread than `append`. Raises OSError."""
        full, self._full = self._full, []
        for file in full:
            os.fsync(file)
            os.close(file)
        if self._file is not None:
            os.fsync(self._file)
            with contextlib.closing(_Folder(self._folder)) as folder:
                os.fsync(folder.file)
            self.gone = not self._there()

    def _there(self) -> bool:
        assert self._file is not None  # noqa: S101 - `sync` looks first
        try:
            return os.path.samestat(os.stat(part_path(self._folder, self.name, self._part)), os.fstat(self._file))
        except FileNotFoundError:
            return False

    def close(self) -> None:
        for file in (*self._full, self._file):
            if file is not None:
                os.close(file)
        self._full, self._file = [], None

    def _next_part(self) -> None:
        path = part_path(self._folder, self.name, self._part + 1)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            # Left behind, it would be in the way of the next line. It is still empty: nobody else writes this chain.
            path.unlink()
            os.close(file)
            raise
        if self._file is not None:
            self._full.append(self._file)
        self._file, self._size, self._torn, self.gone = file, 0, False, False
        self._part += 1

    def _write(self, line: bytes) -> None:
        assert self._file is not None  # noqa: S101 - `append` opens it
        if self._torn:
            self._mend()
        self._torn = True
        try:
            if os.write(self._file, line) < len(line):
                raise OSError(errno.ENOSPC, "only part of an audit line could be written")
        except OSError:
            with contextlib.suppress(OSError):
                self._mend()
            raise
        self._size += len(line)
        self._torn = False

    def _mend(self) -> None:
        """Takes away what is left of a line that could not be written whole. Raises OSError."""
        assert self._file is not None  # noqa: S101 - only a file can be torn
        os.ftruncate(self._file, self._size)
        self._torn = False


class _Folder:
    """A folder as a descriptor: what syncs the names in it."""

    def __init__(self, path: Path) -> None:
        self.file = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self.file)
