"""A name that the system looks up for as long as a test wants."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

LONGEST_SECONDS = 20.0


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """While it is not set, lookups of names under `.slow` hang. The system's resolver is not ours."""
    over, look_up = threading.Event(), socket.getaddrinfo

    def getaddrinfo(host: Any, *given: Any, **more: Any) -> Any:
        if str(host).endswith(".slow"):
            over.wait(LONGEST_SECONDS)
            raise socket.gaierror
        return look_up(host, *given, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield over
    over.set()
