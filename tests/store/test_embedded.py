"""The embedded store's life: clean and unclean ends, leftovers, neighbours, awkward paths."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import hiredis
import pytest

from gateway.errors import StartupFault
from gateway.store.embedded import Embedded
from tests.gateways import eventually
from tests.polling import until
from tests.processes import gone

READY_SECONDS = 1.0
"""About 0.05 s on an idle machine."""


def ask(server: Embedded, *command: str) -> object:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(5.0)
        raw.connect(server.url.removeprefix("unix://"))
        raw.sendall(hiredis.pack_command(command))
        reader = hiredis.Reader()
        while (answer := reader.gets()) is False:
            reader.feed(raw.recv(1 << 16))
        return answer


def test_it_is_private_durable_and_never_evicts(tmp_path: Path) -> None:
    folder = tmp_path / "a folder" / ".gateway"
    started = time.monotonic()
    server = Embedded.start(folder)
    try:
        assert time.monotonic() - started < READY_SECONDS
        assert server.fresh
        assert server.notice is None
        assert folder.stat().st_mode & 0o777 == 0o700
        for name, value in {
            "port": b"0",
            "appendonly": b"yes",
            "appendfsync": b"everysec",
            "maxmemory-policy": b"noeviction",
            "save": b"",
        }.items():
            assert ask(server, "CONFIG", "GET", name) == [name.encode(), value]
        ask(server, "SET", "kept", "yes")
    finally:
        server.stop()
    server.stop()
    assert gone(server.pid)
    assert not (folder / "store.sock").exists()
    again = Embedded.start(folder)
    try:
        assert not again.fresh
        assert ask(again, "GET", "kept") == b"yes"
    finally:
        again.stop()


def test_a_killed_server_and_its_leftover_socket(tmp_path: Path) -> None:
    first = Embedded.start(tmp_path)
    os.kill(first.pid, signal.SIGKILL)
    eventually(lambda: gone(first.pid), "the first has ended")
    assert (tmp_path / "store.sock").exists()
    second = Embedded.start(tmp_path)
    try:
        assert ask(second, "PING") == b"PONG"
    finally:
        second.stop()
        first.stop()


def test_it_dies_with_a_killed_parent_and_the_next_run_starts_at_once(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from gateway.store.embedded import Embedded\n"
        "print(Embedded.start(Path(sys.argv[1])).pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    server = Embedded.start(tmp_path)  # without waiting: the old server may still be ending
    try:
        eventually(lambda: gone(pid), "it has ended")
        assert ask(server, "PING") == b"PONG"
    finally:
        server.stop()
        parent.communicate()


def test_a_live_neighbour_is_named(tmp_path: Path) -> None:
    first = Embedded.start(tmp_path)
    try:
        with pytest.raises(StartupFault) as caught:
            Embedded.start(tmp_path)
        assert str(tmp_path) in str(caught.value)
        assert str(first.pid) in str(caught.value)
        assert ask(first, "PING") == b"PONG"
    finally:
        first.stop()


def test_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("long-" * 25)
    server = Embedded.start(folder)
    place = Path(server.url.removeprefix("unix://")).parent
    try:
        assert place.is_relative_to(tempfile.gettempdir())
        assert place.stat().st_mode & 0o777 == 0o700
        assert server.notice is not None
        assert str(place) in server.notice
        assert (folder / "appendonlydir").exists()
    finally:
        os.kill(server.pid, signal.SIGKILL)
    eventually(lambda: gone(server.pid), "it has ended")
    again = Embedded.start(folder)
    assert not place.exists()
    server.stop()
    again.stop()
    assert not Path(again.url.removeprefix("unix://")).parent.exists()


async def test_the_loop_goes_on_while_a_killed_server_starts_again(tmp_path: Path) -> None:
    server = Embedded.start(tmp_path)
    lock, before = tmp_path / "store.lock", f"{server.pid}\n"
    try:
        os.kill(server.pid, signal.SIGKILL)
        await until(lambda: server.ended)
        reviving = asyncio.create_task(server.revive(tmp_path))
        async with asyncio.timeout(5):
            while (said := lock.read_text()).count("\n") != 2 or said.startswith(before):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        pid = int(said.partition("\n")[0])
        os.kill(pid, signal.SIGSTOP)  # as if it had much to load
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert not reviving.done()
        os.kill(pid, signal.SIGCONT)
        await reviving
        assert server.pid == pid
        assert ask(server, "PING") == b"PONG"
    finally:
        server.stop()


@pytest.mark.parametrize("mode", [0o700, 0o755])
async def test_a_socket_folder_that_is_still_there_is_taken_if_it_is_ours_alone(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / ("long-" * 25)
    server = Embedded.start(folder)
    place = Path(server.url.removeprefix("unix://")).parent
    (place / "something").touch()
    try:
        os.kill(server.pid, signal.SIGKILL)
        await until(lambda: server.ended)
        place.chmod(mode)
        if mode == 0o700:
            await server.revive(folder)
            assert ask(server, "PING") == b"PONG"
        else:
            with pytest.raises(StartupFault, match="mode 0700"):
                await server.revive(folder)
    finally:
        server.stop()
        shutil.rmtree(place)


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    script = tmp_path / "broken"
    script.write_text("#!/bin/sh\necho disk on fire >&2\nexit 1\n")
    script.chmod(0o755)
    with pytest.raises(StartupFault, match="disk on fire"):
        Embedded.start(tmp_path / "data", binary=script)
    Embedded.start(tmp_path / "data").stop()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartupFault, match="Not a directory"):
        Embedded.start(tmp_path / "file" / "store")


def test_only_the_main_thread_may_start_it(tmp_path: Path) -> None:
    caught: list[BaseException] = []

    def start() -> None:
        try:
            Embedded.start(tmp_path)
        except RuntimeError as error:
            caught.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(caught[0])


def test_the_watching_shell_ends_the_store_where_the_kernel_does_not() -> None:
    sleeper = subprocess.Popen(["sleep", "60"])
    code = "import sys; from gateway.store.embedded import watch; p = watch(int(sys.argv[1])); print('on', flush=True)"
    wait = "\nsys.stdin.read()"
    parent = subprocess.Popen(
        [sys.executable, "-c", code + wait, str(sleeper.pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "on\n"
    assert sleeper.poll() is None
    parent.kill()
    parent.communicate()
    assert sleeper.wait(5) == -signal.SIGTERM
