"""Child processes that need not load their modules: a process that has loaded them once forks itself for each.

    with Nursery(("gateway.app", ...)) as nursery:
        child = nursery.start("gateway", ["serve"], cwd=..., env=..., stderr=...)

Starting the gateway costs more than a second of CPU, nearly all of it imports, and the tests start it hundreds of
times. A child is a process like any other: it has a session and an environment of its own, dies by SIGKILL, and ends by
itself when whoever started the nursery is gone. It differs from one that was started anew in what `/proc/PID/cmdline`
says and in modules that are loaded already; what is about starting itself uses `subprocess`.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NoReturn

_PR_SET_PDEATHSIG = 1
_MOST_BYTES = 1 << 20
"""Of one request: an environment and arguments."""
_STANDARD = (0, 1, 2)
_END_SECONDS = 5.0


class Child:
    """What `subprocess.Popen` is for a process that was started anew, as far as it is used here."""

    def __init__(self, nursery: Nursery, pid: int, stdin: IO[bytes] | None, stdout: IO[bytes] | None) -> None:
        self._nursery, self._ended = nursery, os.pidfd_open(pid)
        self.pid, self.stdin, self.stdout = pid, stdin, stdout
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            readable, _, _ = select.select([self._ended], [], [], timeout)
            if not readable:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            self.returncode = self._nursery.reap(self.pid)
            os.close(self._ended)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            signal.pidfd_send_signal(self._ended, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """One process that has loaded `modules`; `start` forks it. Safe for threads."""

    def __init__(self, modules: Sequence[str]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            os.set_inheritable(theirs.fileno(), True)
            command = [sys.executable, "-m", "loadtests.nursery", str(theirs.fileno()), *modules]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        self._socket, self._lock = ours, threading.Lock()

    def start(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> Child:
        """`python -m module arguments`; the last three are subprocess.PIPE (not stderr), a file descriptor, or None
        for ours. Raises OSError."""
        asked = {"module": module, "arguments": list(arguments), "cwd": str(cwd), "env": dict(env)}
        with contextlib.ExitStack() as stack:
            theirs = list(_STANDARD)
            files: list[IO[bytes] | None] = [None, None]
            for number, given in enumerate((stdin, stdout, stderr)):
                if given == subprocess.PIPE:
                    theirs[number], files[number] = _pipe(number, stack)
                elif given is not None:
                    theirs[number] = given
            with self._lock:
                socket.send_fds(self._socket, [json.dumps(asked).encode()], theirs)
                pid = self._answer()
        return Child(self, pid, *files)

    def reap(self, pid: int) -> int:
        """The exit code of a child that has ended; negative is the signal that ended it."""
        with self._lock:
            self._socket.send(json.dumps({"reap": pid}).encode())
            return self._answer()

    def _answer(self) -> int:
        said = self._socket.recv(_MOST_BYTES)
        if not said:
            raise OSError("the nursery is gone; its stderr says why")
        return int(said)

    def close(self) -> None:
        self._socket.close()
        self._process.wait(_END_SECONDS)

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _pipe(number: int, stack: contextlib.ExitStack) -> tuple[int, IO[bytes]]:
    """The child's end, closed here by `stack`, and ours."""
    read, write = os.pipe()
    theirs, ours, mode = (read, write, "wb") if number == 0 else (write, read, "rb")
    stack.callback(os.close, theirs)
    return theirs, os.fdopen(ours, mode)


def _serve(line: socket.socket) -> dict[str, Any] | None:
    """Forks as asked, and in the child returns what is to be run; None when nobody asks any more."""
    while True:
        said, files, _, _ = socket.recv_fds(line, _MOST_BYTES, len(_STANDARD))
        if not said:
            return None
        asked: dict[str, Any] = json.loads(said)
        if "reap" in asked:
            _, status = os.waitpid(asked["reap"], 0)
            line.send(str(os.waitstatus_to_exitcode(status)).encode())
            continue
        pid = os.fork()
        if pid == 0:
            line.close()
            for number, file in zip(_STANDARD, files, strict=True):
                os.dup2(file, number)
                os.close(file)
            return asked
        for file in files:
            os.close(file)
        line.send(str(pid).encode())


def die_with_parent() -> None:
    """In the child, as it begins: the kernel ends it when the thread that started it is gone, even by SIGKILL."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _become(asked: Mapping[str, Any]) -> None:
    """The rest of the child's life."""
    os.setsid()
    die_with_parent()
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    sys.argv = [asked["module"], *asked["arguments"]]
    sys.orig_argv = [sys.executable, "-m", *sys.argv]  # by which it starts more of its kind
    code: object = None
    try:
        runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code
    _leave(code)


def _leave(code: object) -> NoReturn:
    """What the interpreter does at its end, except to take apart thousands of objects that were loaded by another."""
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are no daemons
    atexit._run_exitfuncs()
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code or 0)


def main() -> None:
    line = socket.socket(fileno=int(sys.argv[1]))
    line.set_inheritable(False)
    gc.disable()
    for module in sys.argv[2:]:
        importlib.import_module(module)
    gc.enable()
    gc.freeze()
    asked = _serve(line)
    if asked is not None:
        _become(asked)


if __name__ == "__main__":
    main()
