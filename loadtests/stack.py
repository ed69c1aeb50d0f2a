"""The gateway as a child process, and the whole demo around it: used by the demo, the load test and the tests."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import httpx

from loadtests.children import CRADLE, Process

ROOT = Path(__file__).resolve().parents[1]
DEMO_POLICIES = ROOT / "policies" / "demo"
READY_SECONDS = 15.0
STOP_SECONDS = 30.0
"""Grace (20 s), what a gateway needs after it (docs/settings.md: 5 s), and as much again."""
POLL_SECONDS = 0.02


class StackFault(Exception):
    """A process did not start; the message says why and what to do."""


def end(process: Process, seconds: float = STOP_SECONDS) -> int:
    """SIGTERM, and SIGKILL if it has not ended in time; returns the exit code."""
    process.terminate()
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


class Gateway:
    """A running `gateway serve`. Close it with `stop`, or leave its `with` block."""

    def __init__(self, process: Process, url: str) -> None:
        self.process, self.url = process, url

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> int:
        """SIGTERM, and SIGKILL if that takes too long; returns the exit code."""
        return end(self.process)

    def kill(self) -> int:
        self.process.kill()
        return self.process.wait()

    def __enter__(self) -> Gateway:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()


def start_gateway(
    policies: Path,
    data_dir: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    prefix: Sequence[str] = (),
) -> Gateway:
    """Starts the gateway and waits until it is ready. `log` takes its stderr (default: ours), `prefix` is what its
    command begins with. Raises StackFault."""
    chosen = port or free_port()
    values = {"GATEWAY_POLICIES": str(policies), "GATEWAY_DATA_DIR": str(data_dir), **(env or {})}
    with contextlib.ExitStack() as stack:
        stderr = stack.enter_context(log.open("ab")) if log is not None else None
        arguments = ["serve", "--host", host, "--port", str(chosen)]
        process = CRADLE.spawn(
            "gateway", arguments, cwd=ROOT, env={**os.environ, **values}, stderr=stderr, prefix=prefix
        )
    reachable = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
    gateway = Gateway(process, f"http://{f'[{reachable}]' if ':' in reachable else reachable}:{chosen}")
    try:
        wait_ready(gateway, log)
    except BaseException:
        gateway.kill()
        raise
    return gateway


def wait_ready(gateway: Gateway, log: Path | None) -> None:
    deadline = time.monotonic() + READY_SECONDS
    with httpx.Client(trust_env=False, timeout=1.0) as client:
        while time.monotonic() < deadline:
            if gateway.process.poll() is not None:
                said = log.read_text().strip().splitlines()[-1:] if log is not None and log.exists() else []
                raise StackFault(" ".join(["the gateway did not start.", *said]))
            with contextlib.suppress(httpx.HTTPError):
                if client.get(f"{gateway.url}/readyz").status_code == httpx.codes.OK:
                    return
            time.sleep(POLL_SECONDS)
    raise StackFault(f"the gateway was not ready within {READY_SECONDS:g} s")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
