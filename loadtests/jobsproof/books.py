"""The books of a run, read by a reader of our own: the ledger's database, the store's keys, the artefact folder."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import redis

from loadtests.jobsproof.judge import Booked
from loadtests.jobsproof.site import BARE, LISTED, OURS, TENANT

REST_SECONDS = 90.0
"""Money of what died is looked for every half a minute (`gateway/jobs/runner.py`)."""
POLL_SECONDS = 0.1
UNFINISHED = "unfinished"
JOB_KEY = "gw:{jobs}:job:"
COUNTERS = f"gw:{{money}}:quota:tenant {TENANT}: usd per total"
"""These names are of docs/store.md."""


class Books:
    def __init__(self, client: redis.Redis, ledger: Path, artefacts: Path) -> None:
        self._client, self._ledger, self._artefacts = client, ledger, artefacts

    def rest(self) -> None:
        """Returns when they stand still, or do not in time: what is left then is told by `left`."""
        deadline = time.monotonic() + REST_SECONDS
        while (any(self.left().values()) or self._stream()) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def left(self) -> Mapping[str, int]:
        """What should be nothing once all is over."""
        call: Callable[..., Any] = self._client.execute_command
        leases = {f"leases of {name}": self._sum(f"gw:{{{name}}}:count") for name in (OURS, LISTED, BARE)}
        held = sum(call("SCARD", key) for key in self._client.scan_iter("gw:{jobs}:held:*"))
        return {
            **leases,
            "jobs that somebody holds": held,
            "jobs without an end": call("ZCARD", "gw:{jobs}:deadlines"),
            "jobs of nobody": call("LLEN", "gw:{jobs}:orphans"),
            "entries of streams": sum(call("XLEN", key) for key in self._client.scan_iter("gw:{jobs}:work:*")),
            "attempts whose money is kept": call("HLEN", "gw:{money}:kept"),
            "micro-dollars set aside": int(call("HGET", COUNTERS, "total:held") or 0),
        }

    def rows(self) -> Mapping[str, Booked]:
        """Of attempts; parts of the budget that a killed process had drawn and not used are rows of their own."""
        with contextlib.closing(sqlite3.connect(f"file:{self._ledger}?mode=ro", uri=True)) as db:
            rows = db.execute(
                "SELECT attempt, cost, reserved, state, basis, kind, estimated FROM attempts WHERE role <> 'slice'"
            )
            return {
                attempt: Booked(
                    reserved if cost is None else cost,
                    known=state == "settled" and cost is not None and basis == "list" and not estimated,
                    managed=kind == "managed",
                )
                for attempt, cost, reserved, state, basis, kind, estimated in rows
            }

    def strays(self) -> tuple[list[Path], list[Path]]:
        """Files that no job names; and those among the unfinished."""
        named = set[str]()
        for key in self._client.scan_iter(JOB_KEY + "*", count=1000):
            job = json.loads(self._client.hget(key, "job") or b"{}")
            named.update(one["id"] for one in job.get("artefacts", ()))
        files = [file for file in self._artefacts.rglob("*") if file.is_file() and file.name not in named]
        drafts = [file for file in files if file.parent.name == UNFINISHED]
        return [file for file in files if file not in drafts], drafts

    def _sum(self, key: str) -> int:
        counts: Any = self._client.hgetall(key)
        return sum(int(count) for count in counts.values())

    def _stream(self) -> int:
        return int(self._client.xlen("gw:{money}:ledger"))
