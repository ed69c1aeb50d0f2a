"""A PostgreSQL server of one's own, in a temporary folder, on a UNIX socket: for the bench and the tests."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from loadtests.nursery import die_with_parent

READY_SECONDS = 20.0
POLL_SECONDS = 0.02
USERS = ("postgres", "nobody")
"""Whom it runs as where we are root, which it refuses."""
_DEBIAN = Path("/usr/lib/postgresql")


def binaries() -> Path | None:
    """The folder that has `postgres` and `initdb`."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found is not None else []
    folders += sorted(_DEBIAN.glob("*/bin"), reverse=True)
    return next((each for each in folders if (each / "postgres").exists() and (each / "initdb").exists()), None)


class Postgres:
    """A server with the database `postgres` and the superuser `gateway`, whom it asks for no password."""

    def __init__(self, folder: Path, tools: Path) -> None:
        self._data, self._tools, self._sockets = folder / "data", tools, folder
        self._owner = _other_user()
        self._process: subprocess.Popen[bytes] | None = None
        if self._owner is not None:
            os.chown(folder, pwd.getpwnam(self._owner).pw_uid, -1)
        made = [str(tools / "initdb"), "-D", str(self._data), "-U", "gateway", "-A", "trust", "-E", "UTF8", "-N"]
        subprocess.run(made, check=True, user=self._owner, cwd=folder, stdout=subprocess.DEVNULL)

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql://gateway@/{database}?host={self._sockets}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        command = [str(self._tools / "postgres"), "-D", str(self._data), "-k", str(self._sockets), "-h", ""]
        with (self._sockets / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                user=self._owner,
                cwd=self._sockets,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent if sys.platform == "linux" else None,
            )
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                psycopg.connect(self.url).close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(POLL_SECONDS)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: fast, connections are cut. SIGQUIT: at once, as if the machine had gone."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(READY_SECONDS)

    def create(self, database: str) -> str:
        """A fresh database of that name; its URL."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}"')
        return self.url_of(database)


def _other_user() -> str | None:
    if os.getuid() != 0:
        return None
    known = {each.pw_name for each in pwd.getpwall()}
    return next(name for name in USERS if name in known)


@contextmanager
def started(tools: Path) -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="gateway-pg-") as folder:
        server = Postgres(Path(folder), tools)
        server.start()
        try:
            yield server
        finally:
            server.stop()
