"""The engine under test: whatever ENGINE_CMD starts, in a process group of its own, so that it can be killed whole."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from loadtests.bench import proc
from loadtests.engine.kinds import BY_OWNER, About, ask
from loadtests.nursery import die_with_parent

READY_SECONDS = 300.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.1
LAST_LINES = 3


class EngineFault(Exception):
    """The engine did not start; the message says why, with its own last lines."""


class Engine:
    """`command` is a shell line in which `{port}` and `{seqs}` are replaced. Its output goes to `log`."""

    def __init__(self, command: str, port: int, seats: int, log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        filled = command.replace("{port}", str(port)).replace("{seqs}", str(seats))
        self._script = f"trap 'trap - TERM; kill 0' TERM\n{{\n{filled}\n}} &\nwait $!"
        """A shell that waits for the command itself would not hear the signal that it is to pass on."""
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """From the main thread: the child ends with the thread that started it."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._script,
                shell=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent if sys.platform == "linux" else None,
            )

    @property
    def group(self) -> int | None:
        """Its process group, once started."""
        return None if self._process is None else self._process.pid

    async def ready(self) -> About:
        """Waits until it answers /health. Raises EngineFault where it ends first, or takes too long."""
        deadline = time.monotonic() + READY_SECONDS
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=5.0) as client:
            while time.monotonic() < deadline:
                if self._process is None or self._process.poll() is not None:
                    raise EngineFault(f"the engine ended before it was ready ({self._end()}): {self._last_lines()}")
                if await _healthy(client):
                    return await _about(client)
                await asyncio.sleep(POLL_SECONDS)
        raise EngineFault(f"the engine was not ready within {READY_SECONDS:g} s: {self._last_lines()}")

    def kill(self) -> None:
        """SIGKILL to the whole group: no process of it says goodbye."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def kill_largest(self) -> None:
        """SIGKILL to the process of the group that holds the most memory; needs Linux's /proc."""
        sizes = {pid: proc.pss_bytes([pid]) for pid in self.members()}
        os.kill(max(sizes, key=lambda pid: sizes[pid]), signal.SIGKILL)

    def members(self) -> list[int]:
        """The living processes of its group; needs Linux's /proc."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # gone since
                state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
                if int(group) == self.group and state != "Z":
                    found.append(int(stat.parent.name))
        return found

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for what is left of the group."""
        self._signal(signal.SIGTERM)
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        self.kill()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _last_lines(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()[-LAST_LINES:]
        return " / ".join(lines) or "it printed nothing"

    def _end(self) -> str:
        """The exit code of its shell: 127 where there is no such command, 128 + N after signal N."""
        return "not started" if self._process is None else f"exit code {self._process.returncode}"


async def _healthy(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/health")).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


async def _about(client: httpx.AsyncClient) -> About:
    try:
        return await ask(client)
    except (httpx.HTTPError, LookupError, TypeError, ValueError) as fault:
        known = " or ".join(BY_OWNER)
        raise EngineFault(
            f"the engine does not show its model and version as {known} does ({type(fault).__name__})"
        ) from None
