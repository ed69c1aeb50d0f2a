"""SIGHUP reloads, but for the one that says that the terminal is gone."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios

import pytest

from loadtests.stack import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="how a terminal becomes the controlling one differs")
PROGRAM = """
import os, signal
from gateway.cli.terminal import on_hangup
on_hangup(lambda: os.write(1, b"reload\\n"))  # a print may find the one below still under way
os.write(1, b"ready\\n")
while True:
    signal.pause()
"""


def take_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_a_signal_reloads_and_a_closed_terminal_ends() -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        stdin=theirs,
        stdout=subprocess.PIPE,
        preexec_fn=take_terminal,
    )
    os.close(theirs)
    assert process.stdout is not None
    with process, process.stdout as said:
        try:
            assert said.readline() == b"ready\n"
            process.send_signal(signal.SIGHUP)
            assert said.readline() == b"reload\n"
            os.close(ours)
            assert process.wait(5) == -signal.SIGTERM
        finally:
            process.kill()
