"""What a process holds while something is done, from /proc (Linux)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

EVERY_SECONDS = 0.02


@dataclass(slots=True)
class Growth:
    """Bytes of resident memory: before, and the most since."""

    before: int
    most: int

    @property
    def bytes(self) -> int:
        return self.most - self.before


def resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


@contextmanager
def watched(pid: int) -> Iterator[Growth]:
    """Filled in while the block lasts."""
    now = resident(pid)
    growth, stop = Growth(now, now), threading.Event()

    def look() -> None:
        while not stop.wait(EVERY_SECONDS):
            growth.most = max(growth.most, resident(pid))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield growth
    finally:
        stop.set()
        watcher.join()
        growth.most = max(growth.most, resident(pid))
