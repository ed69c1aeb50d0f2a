"""The simulator as a process: ready line, flags, signals, its parent, and the verdict on itself."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from loadtests.simfleet.harness import SimFleet, start

from .conftest import chat

COMMAND = [sys.executable, "-m", "loadtests.simfleet"]
ROOT = Path(__file__).resolve().parents[2]


def gone(pid: int, within: float = 5.0) -> bool:
    """Whether the process ends in time; a zombie that nobody reaps has ended."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_flags_ready_line_and_signals(sig: signal.Signals) -> None:
    command = [*COMMAND, "--workers", "2", "--managed", "1", "--max-num-seqs", "3", "--model", "m", "--api-key", "k"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        ports = [server["port"] for kind in ("workers", "managed", "dcgm") for server in ready[kind]]
        for port in ports:
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
        state = httpx.get(f"http://127.0.0.1:{ports[0]}/sim/state", trust_env=False).json()
        process.send_signal(sig)
        rest = process.stdout.read()
        process.wait(5)
    assert (len(set(ports)), ready["pid"], ready["workers"][0]["model"]) == (4, process.pid, "m")
    assert state["seats"] == 3
    assert rest == b""  # one line, no more


def test_a_yaml_file_and_a_taken_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        file = tmp_path / "fleet.yaml"
        file.write_text(f"workers: [{{port: {port}}}]\nmanaged: 0\n")
        ended = subprocess.run([*COMMAND, "--config", file], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"port {port}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_it_dies_with_its_parent() -> None:
    script = (
        "import subprocess, sys, os\n"
        "command = [sys.executable, '-m', 'loadtests.simfleet', '--workers', '1', '--managed', '0']\n"
        "child = subprocess.Popen([*command, '--die-with-parent', str(os.getpid())], stdout=subprocess.PIPE)\n"
        "print(child.stdout.readline().decode(), flush=True)\n"
        "os._exit(0)\n"
    )
    parent = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=20)
    pid = json.loads(parent.stdout)["pid"]
    try:
        assert gone(pid)
    finally:
        if Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGKILL)


def test_sigkill_through_the_harness_is_seen_as_a_dead_port() -> None:
    fleet = start(workers=1, managed=0)
    url = fleet.workers[0].url
    assert httpx.get(f"{url}/health", trust_env=False).status_code == 200
    fleet.kill()
    assert gone(fleet.pid)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health", trust_env=False)


def test_stop_does_not_wait_for_running_streams() -> None:
    fleet = start(workers=1, managed=0)
    body = chat(fleet.workers[0], stream=True, max_tokens=5000, ignore_eos=True)
    with httpx.stream("POST", f"{fleet.workers[0].url}/v1/chat/completions", json=body, trust_env=False):
        began = time.monotonic()
        fleet.stop()
        assert time.monotonic() - began < 2.0


def generate(fleet: SimFleet, tokens: int) -> None:
    worker = fleet.workers[0]
    body = chat(worker, max_tokens=tokens, ignore_eos=True)
    httpx.post(f"{worker.url}/v1/chat/completions", json=body, trust_env=False, timeout=20).raise_for_status()


def test_a_loop_that_is_blocked_voids_the_run() -> None:
    """Steps of 10 ms whose wake-ups are held up by 10 ms each: late by a whole step."""
    with start(workers=1, managed=0, worker={"step_ms": 10.0, "per_seq_ms": 0.0}) as fleet:
        generate(fleet, 110)
        honest = fleet.honesty()
        fleet.reset_honesty()
        fleet.config(None, block_ms=10.0)
        generate(fleet, 110)
        verdict = fleet.honesty()
        assert verdict["void"]
        assert honest["steps"] >= 100
        assert verdict["step_late_p99_ratio"] >= 0.9
        assert any("lateness" in reason for reason in verdict["reasons"])
        fleet.reset_honesty()
        assert not fleet.honesty()["void"]


def test_others_may_be_let_in_and_are_told_its_name() -> None:
    with start(listen="0.0.0.0", called="localhost", workers=1, managed=0, providers=[{"kind": "gmi"}]) as fleet:
        (worker,), (provider,) = fleet.workers, fleet.providers
        assert worker.url == f"http://localhost:{worker.port}"
        assert provider.url.startswith("http://localhost:")
        assert httpx.get(f"http://127.9.8.7:{worker.port}/health", trust_env=False).is_success


def test_nobody_else_is_let_in_unless_it_is_asked_for() -> None:
    with start(workers=1, managed=0) as fleet:
        (worker,) = fleet.workers
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.9.8.7:{worker.port}/health", trust_env=False)
