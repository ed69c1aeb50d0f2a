"""How a gateway of several processes starts, and that it does not where it cannot."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.cli.child import Child
from gateway.cli.port import bind
from gateway.cli.workers import PAUSE_FIRST, PAUSE_MOST, SOUND_SECONDS, Workers, next_pause
from gateway.errors import StartupFault
from gateway.settings import load_settings
from gateway.siblings import Place
from loadtests.stack import ROOT
from tests.commands import ran

FAILING_LIFESPAN = """
from gateway.fleet.view import View
async def refresh(self):
    raise ValueError("unforeseen")
View.refresh = refresh
"""


def attempt(env: Mapping[str, str], *flags: str) -> tuple[int, str]:
    """Exit code and stderr of a gateway that cannot start."""
    done = ran("serve", "--port", "0", "--workers", "2", *flags, env={**os.environ, **env})
    return done.returncode, done.stderr


def test_the_parent_refuses_a_folder_that_is_not_there(tmp_path: Path) -> None:
    code, said = attempt({}, "--policies", str(tmp_path / "nowhere"))
    assert (code, said.count("gateway: no policy folder")) == (2, 1)


def test_a_child_that_cannot_start_ends_it_all(tmp_path: Path) -> None:
    code, said = attempt({"GATEWAY_REDIS_URL": "redis://127.0.0.1:1"}, "--policies", str(ROOT / "policies" / "demo"))
    assert code == 2
    assert "gateway: the store at 127.0.0.1:1 cannot be used" in said
    assert "starting it again" not in said


def test_a_child_whose_start_fails_late_ends_it_all(tmp_path: Path) -> None:
    """After the store was looked at and before anything is announced: uvicorn leaves with a code of its own."""
    (tmp_path / "sitecustomize.py").write_text(FAILING_LIFESPAN)
    env = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]), "GATEWAY_DATA_DIR": str(tmp_path / "data")}
    code, said = attempt(env, "--policies", str(ROOT / "policies" / "demo"))
    assert code == 1
    assert "starting it again" not in said


@pytest.mark.parametrize("place", ["x", "1,2", "0,901,900"])
def test_a_place_that_no_parent_gave_is_a_mistake_in_the_command(place: str) -> None:
    code, said = attempt({}, "--policies", str(ROOT / "policies" / "demo"), "--place", place)
    assert code == 2
    assert "--place" in said
    assert "Traceback" not in said


async def test_a_silent_child_is_asked_once_until_it_answers() -> None:
    ours, theirs = socket.socketpair()
    with theirs, subprocess.Popen(["true"]) as process:  # noqa: ASYNC220 - it ends at once
        child = Child(process, ours, ready=True)
        _, child.writer = await asyncio.open_unix_connection(sock=ours)
        assert [await child.figures() for _ in range(3)] == [None] * 3
        assert theirs.recv(1 << 10) == b"A \n"
        waiting = asyncio.create_task(child.figures())
        await asyncio.sleep(0)
        child.told(b"{}")
        assert await waiting == b"{}"
        again = asyncio.create_task(child.figures())
        await asyncio.sleep(0)
        assert theirs.recv(1 << 10) == b"A \n"
        child.hang_up()
        assert await again is None
        assert await child.figures() is None


def test_a_place_whose_port_is_lost_gets_it_back(tmp_path: Path) -> None:
    with bind("127.0.0.1", 0, shared=True) as first:
        workers = Workers(load_settings(workers=1, policies=tmp_path), None, [first])
        host, port = first.getsockname()
        assert workers._open(0)
    with bind(host, port):
        assert not workers._open(0)
    assert workers._open(0)
    workers._sockets[0].close()


def test_a_port_that_another_gateway_shares_among_its_own_is_taken() -> None:
    with bind("127.0.0.1", 0) as alone:
        port = alone.getsockname()[1]
    with (
        bind("127.0.0.1", port, shared=True),
        bind("127.0.0.1", port, shared=True),
        pytest.raises(StartupFault, match="is taken"),
    ):
        bind("127.0.0.1", port)


@pytest.mark.parametrize(
    ("before", "lived", "pause"),
    [
        (0.0, SOUND_SECONDS, 0.0),
        (0.0, 1.0, PAUSE_FIRST),
        (PAUSE_FIRST, 1.0, 2 * PAUSE_FIRST),
        (PAUSE_MOST, 1.0, PAUSE_MOST),
        (PAUSE_MOST, SOUND_SECONDS, 0.0),
    ],
)
def test_the_pause_before_a_new_child_grows_until_one_lives(before: float, lived: float, pause: float) -> None:
    assert next_pause(before, lived) == pause


def test_a_place_is_read_as_it_was_written() -> None:
    for place in (Place((3,), 11, fresh=True), Place((3, 4), 11, fresh=False)):
        assert Place.parse(str(place)) == place
