"""A simulated fleet as a child process, for any test or bench: synchronous, no event loop needed.

::

    with start(workers=2, managed=1, worker={"max_num_seqs": 4}) as fleet:
        fleet.workers[0].url        # http://127.0.0.1:PORT
        fleet.config("h100-1", slow=3.0)
        fleet.state("h100-1")["running"]
"""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from loadtests.children import CRADLE, Process

START_S = 20.0
STOP_S = 5.0
POLL_S = 0.01
_ROOT = Path(__file__).resolve().parents[2]


class SimFault(Exception):
    """The simulator did not start, or did not do what was asked within its deadline."""


@dataclass(frozen=True, slots=True)
class Server:
    """One simulated server. `url`: a worker's root, a managed API's /v1, a DCGM page itself."""

    name: str
    port: int
    url: str
    model: str = ""
    node: str = ""
    gpu: int = 0
    engine: str = ""
    metrics: str = ""
    """Address of its metrics page."""
    gpu_uuids: Sequence[str] = ()


class SimFleet:
    """A running simulator. Close it with `stop`, or leave its `with` block."""

    def __init__(self, process: Process, ready: dict[str, Any]) -> None:
        self.pid: int = ready["pid"]
        self.workers = [Server(**each) for each in ready["workers"]]
        self.managed = [Server(**each) for each in ready["managed"]]
        self.providers = [Server(**each) for each in ready["providers"]]
        self.dcgm = [Server(**each) for each in ready["dcgm"]]
        self._process = process
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{self.dcgm[0].port}", trust_env=False, timeout=START_S)

    @property
    def ended(self) -> bool:
        """Whether the simulator is gone by itself."""
        return self._process.poll() is not None

    def config(self, worker: str | None = None, /, **faults: Any) -> None:
        """Set faults on one server, or on every GPU worker (None): the keys of `faults.Change`."""
        self._call("POST", "/sim/config", json={"worker": worker, **faults})

    def state(self, name: str) -> dict[str, Any]:
        """The live truth of one server."""
        return self._call("GET", "/sim/state", params={"name": name})

    def states(self) -> dict[str, dict[str, Any]]:
        """The live truth of every server, by name."""
        return self._call("GET", "/sim/state")

    def requests(self, name: str, since: int = 0) -> list[dict[str, Any]]:
        """What one server received, oldest first, probes left out."""
        found: list[dict[str, Any]] = self._call("GET", "/sim/requests", params={"name": name, "since": since})[
            "requests"
        ]
        return found

    def honesty(self) -> dict[str, Any]:
        """Whether results against this simulator are void, and why."""
        return self._call("GET", "/sim/honesty")

    def reset_honesty(self) -> None:
        self._call("POST", "/sim/honesty/reset")

    def wait(self, name: str, condition: Callable[[dict[str, Any]], bool], within: float = 5.0) -> dict[str, Any]:
        """Poll a server's state until the condition holds. Raises SimFault after `within` seconds."""
        deadline = time.monotonic() + within
        while True:
            state = self.state(name)
            if condition(state):
                return state
            if time.monotonic() > deadline:
                raise SimFault(f"{name} did not get there within {within:g} s: {state}")
            time.sleep(POLL_S)

    def kill(self) -> None:
        """SIGKILL, then reap."""
        self._process.kill()
        self._reap()

    def stop(self) -> int:
        """SIGTERM, SIGKILL if that takes too long; returns the exit code."""
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        return self._reap()

    def _reap(self) -> int:
        code = self._process.wait(STOP_S)
        self._client.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        return code

    def _call(self, method: str, path: str, **kwargs: Any) -> dict[str, Any]:
        answer = self._client.request(method, path, **kwargs)
        if answer.status_code != httpx.codes.OK:
            raise SimFault(f"{method} {path}: {answer.status_code} {answer.text}")
        found: dict[str, Any] = answer.json()
        return found

    def __enter__(self) -> SimFleet:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()


def start(**config: Any) -> SimFleet:
    """Start a simulator with the keys of `config.FleetConfig`; returns once every port listens. Raises SimFault."""
    arguments = ["--config", "-", "--die-with-parent"]
    pipe = subprocess.PIPE
    process = CRADLE.spawn("loadtests.simfleet", arguments, cwd=_ROOT, stdin=pipe, stdout=pipe)
    with _killed_on_failure(process):
        assert process.stdin is not None
        process.stdin.write(json.dumps(config).encode())
        process.stdin.close()
        return SimFleet(process, _ready_line(process))


def _ready_line(process: Process) -> dict[str, Any]:
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], START_S)
    line = process.stdout.readline() if readable else b""
    if not line:
        raise SimFault(f"the simulator did not start (exit code {process.poll()}); its stderr says why")
    ready: dict[str, Any] = json.loads(line)
    return ready


@contextlib.contextmanager
def _killed_on_failure(process: Process) -> Iterator[None]:
    try:
        yield
    except BaseException:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        raise
