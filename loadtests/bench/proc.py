"""What processes used, from /proc: CPU time and memory of a whole tree of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
STORE_NAMES = ("valkey", "redis")
"""How the program names of stores begin."""
WRITER = b"\0ledger\0write\0"
"""In the command line of the process that brings rows into a gateway's ledger."""
_PPID, _UTIME, _STIME = 1, 11, 12
"""Fields of /proc/PID/stat counted after the closing bracket of the name (proc(5): fields 4, 14 and 15)."""


@dataclass(frozen=True, slots=True)
class Stat:
    """One line of /proc/PID/stat; `seconds` of CPU, user and system, all threads, in steps of a clock tick (10 ms)."""

    name: str
    parent: int
    seconds: float


def parse_stat(line: str, ticks: int) -> Stat:
    """The name may itself hold spaces and brackets, so the fields count from the last bracket."""
    head, _, tail = line.rpartition(")")
    fields = tail.split()
    return Stat(head.partition("(")[2], int(fields[_PPID]), (int(fields[_UTIME]) + int(fields[_STIME])) / ticks)


def parse_pss(text: str, field: str = "Pss") -> int:
    """Bytes of proportional memory from /proc/PID/smaps_rollup; `Pss_Anon` is without the share of mapped files."""
    for line in text.splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"no {field} line")


def stat(pid: int) -> Stat:
    """Raises OSError where the process has gone."""
    return parse_stat((PROC / str(pid) / "stat").read_text(), os.sysconf("SC_CLK_TCK"))


def tree(root: int) -> dict[int, Stat]:
    """`root` and all its descendants."""
    found = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                found[int(entry.name)] = stat(int(entry.name))
            except OSError:  # it ended while we looked
                continue
    return family(root, found)


def family(root: int, found: dict[int, Stat]) -> dict[int, Stat]:
    """Those of `found` that are `root` or come from it."""
    members, grown = {root}, True
    while grown:
        more = {pid for pid, one in found.items() if one.parent in members} - members
        members |= more
        grown = bool(more)
    return {pid: found[pid] for pid in members if pid in found}


def split_store(members: dict[int, Stat]) -> tuple[list[int], list[int]]:
    """(the peer's own processes, its stores)."""
    stores = [pid for pid, one in members.items() if one.name.startswith(STORE_NAMES)]
    return [pid for pid in members if pid not in stores], stores


def split_writer(pids: Sequence[int]) -> tuple[list[int], list[int]]:
    """(processes that serve, those that write the ledger)."""
    writers = [pid for pid in pids if WRITER in (PROC / str(pid) / "cmdline").read_bytes()]
    return [pid for pid in pids if pid not in writers], writers


def cpu_seconds(pids: Iterable[int]) -> float:
    return sum(stat(pid).seconds for pid in pids)


def pss_bytes(pids: Sequence[int], field: str = "Pss") -> int:
    return sum(parse_pss((PROC / str(pid) / "smaps_rollup").read_text(), field) for pid in pids)


def descriptors(pids: Iterable[int]) -> int:
    """Open descriptors of these processes together."""
    return sum(len(list((PROC / str(pid) / "fd").iterdir())) for pid in pids)
