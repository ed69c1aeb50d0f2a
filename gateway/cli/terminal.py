"""SIGHUP means two things: read the policy again, or the terminal that we were started from is gone."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable


def on_hangup(reload: Callable[[], None]) -> None:
    """Has SIGHUP call `reload`, or end the process as SIGTERM does where its terminal was closed."""
    had_terminal = is_terminal()

    def heard(*_: object) -> None:
        if had_terminal and not is_terminal():
            signal.raise_signal(signal.SIGTERM)
        else:
            reload()

    signal.signal(signal.SIGHUP, heard)


def is_terminal() -> bool:
    """Of standard input; one that was hung up is none any more."""
    return sys.stdin is not None and not sys.stdin.closed and os.isatty(sys.stdin.fileno())
