"""What /proc knows about the processes of a gateway under test (Linux)."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

CHILD_FLAG = b"--place"


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def serving(pid: int) -> list[int]:
    """The processes that serve for this parent; its embedded store is not among them."""
    found = []
    for child in children(pid):
        with contextlib.suppress(FileNotFoundError):
            if CHILD_FLAG in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                found.append(child)
    return found


def gone(pid: int) -> bool:
    """No such process, or one that only waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def connected_to(port: int, pids: list[int]) -> list[int]:
    """Those of the processes that hold a connection to this port of 127.0.0.1."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{line[9]}]" for line in lines if line[2] == f"0100007F:{port:04X}" and line[3] == "01"}
    return [pid for pid in pids if sockets & _open_files(pid)]


def _open_files(pid: int) -> set[str]:
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(descriptor))
    return found
