"""Processes that are forked instead of started anew: as far as anybody outside can tell they are the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests.children import Cradle, Process
from tests.gateways import eventually
from tests.processes import gone

PROGRAM = """
import os, sys, time
words = sys.argv[1:]
if words[0] == "say":
    led = os.getsid(0) == os.getpid()
    print(words[1], os.environ.get("SAID"), os.environ.get("HOME"), os.getcwd(), led, sys.stdin.read(), flush=True)
elif words[0] == "end":
    sys.exit(int(words[1]))
elif words[0] == "fail":
    raise ValueError("no good")
else:
    print("ready", flush=True)
    time.sleep(60)
"""
PIPE = subprocess.PIPE


@pytest.fixture(params=["anew", "out of a nursery"])
def cradle(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cradle]:
    (tmp_path / "spoken.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    one = Cradle()
    with one.warm(("json",) if request.param == "out of a nursery" else ()):
        yield one


def env(**more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return {**kept, **more}


def first_line(child: Process) -> bytes:
    assert child.stdout is not None
    with child.stdout as said:
        return said.readline()


def test_it_has_its_own_words_environment_folder_and_session(cradle: Cradle, tmp_path: Path) -> None:
    child = cradle.spawn("spoken", ["say", "hello"], cwd=tmp_path, env=env(SAID="this"), stdin=PIPE, stdout=PIPE)
    assert child.stdin is not None
    with child.stdin as line:
        line.write(b"from us")
    assert first_line(child).decode().split() == ["hello", "this", "None", str(tmp_path), "True", "from", "us"]
    assert child.wait(10) == 0


def test_its_end_is_told(cradle: Cradle, tmp_path: Path) -> None:
    with (tmp_path / "complaints").open("wb") as complaints:
        ended = cradle.spawn("spoken", ["end", "3"], cwd=tmp_path, env=env())
        failed = cradle.spawn("spoken", ["fail"], cwd=tmp_path, env=env(), stderr=complaints)
        assert (ended.wait(10), failed.wait(10)) == (3, 1)
    assert "ValueError: no good" in (tmp_path / "complaints").read_text()
    assert (ended.poll(), ended.wait()) == (3, 3), "and again to whoever asks again"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_dies_as_any_other(cradle: Cradle, tmp_path: Path, number: signal.Signals) -> None:
    child = cradle.spawn("spoken", ["stay"], cwd=tmp_path, env=env(), stdout=PIPE)
    assert first_line(child) == b"ready\n"
    assert child.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.01)
    child.send_signal(number)
    assert child.wait(10) == -number
    child.kill()  # nobody is there any more, and nobody else is hit


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing ends with its parent")
def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    (tmp_path / "spoken.py").write_text(PROGRAM)
    parent = (
        "import sys; from pathlib import Path; from loadtests.children import CRADLE\n"
        "with CRADLE.warm(('json',)):\n"
        "    child = CRADLE.spawn('spoken', ['stay'], cwd=Path('.'), stdout=-1)\n"
        "    child.stdout.readline(); print(child.pid, flush=True); sys.stdin.read()\n"
    )
    paths = os.pathsep.join([str(tmp_path), os.getcwd()])
    with subprocess.Popen(
        [sys.executable, "-c", parent], env=env(PYTHONPATH=paths), stdin=PIPE, stdout=PIPE
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
    eventually(lambda: gone(pid), "the child is gone")


def test_many_at_once_are_told_apart(cradle: Cradle, tmp_path: Path) -> None:
    children = [cradle.spawn("spoken", ["end", str(code)], cwd=tmp_path, env=env()) for code in range(8)]
    assert [child.wait(10) for child in reversed(children)] == list(reversed(range(8)))
