"""How a gateway of several processes starts, and that it does not where it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.cli.port import bind
from gateway.cli.workers import PAUSE_FIRST, PAUSE_MOST, SOUND_SECONDS, next_pause
from gateway.errors import StartupFault
from gateway.siblings import Place
from loadtests.stack import ROOT

SECONDS = 20


def attempt(env: Mapping[str, str], *flags: str) -> tuple[int, str]:
    """Exit code and stderr of a gateway that cannot start."""
    command = [sys.executable, "-m", "gateway", "serve", "--port", "0", "--workers", "2", *flags]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, timeout=SECONDS)
    return done.returncode, done.stderr


def test_the_parent_refuses_a_folder_that_is_not_there(tmp_path: Path) -> None:
    code, said = attempt({}, "--policies", str(tmp_path / "nowhere"))
    assert (code, said.count("gateway: no policy folder")) == (2, 1)


def test_a_child_that_cannot_start_ends_it_all(tmp_path: Path) -> None:
    code, said = attempt({"GATEWAY_REDIS_URL": "redis://127.0.0.1:1"}, "--policies", str(ROOT / "policies" / "demo"))
    assert code == 2
    assert "gateway: the store at 127.0.0.1:1 cannot be used" in said
    assert "starting it again" not in said


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
    place = Place(3, 11, fresh=True)
    assert Place.parse(str(place)) == place
