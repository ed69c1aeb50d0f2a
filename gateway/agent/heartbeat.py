"""Tells the gateway of this machine's GPUs, again and again, whatever becomes of the gateway."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import httpx
import msgspec

from gateway.errors import StartupFault
from gateway.model import GpuSample

TIMEOUT_SECONDS = 2.0
_recorded = msgspec.json.Decoder(tuple[GpuSample, ...])


class Reader(Protocol):
    def read(self) -> tuple[GpuSample, ...]: ...

    def close(self) -> None: ...


class Recorded:
    """Heartbeats from a file, one line each as they are sent; the last one again and again. Raises StartupFault."""

    def __init__(self, file: Path) -> None:
        try:
            self._beats = [_recorded.decode(line) for line in file.read_bytes().splitlines() if line.strip()]
        except (OSError, msgspec.MsgspecError) as fault:
            raise StartupFault(f"{file} cannot be replayed: {fault}") from None
        if not self._beats:
            raise StartupFault(f"{file} cannot be replayed: it is empty")
        self._next = 0

    def read(self) -> tuple[GpuSample, ...]:
        beat = self._beats[min(self._next, len(self._beats) - 1)]
        self._next += 1
        return beat

    def close(self) -> None: ...


class Heartbeats:
    """`token` is asked at each beat, so that a new one needs no restart; `say` gets one line per change of state."""

    def __init__(self, url: str, host: str, token: Callable[[], str], client: httpx.Client, say: Callable[[str], None]):
        self._url = f"{url.rstrip('/')}/admin/v1/agents/{host}"
        self._where, self._token, self._client, self._say = url, token, client, say
        self._state = ""

    def run(self, reader: Reader, interval: float, stop: threading.Event) -> None:
        """A beat every `interval` seconds until `stop`."""
        while not stop.is_set():
            began = time.monotonic()
            self._become(self._beat(reader.read()))
            stop.wait(max(0.0, interval - (time.monotonic() - began)))

    def _beat(self, gpus: tuple[GpuSample, ...]) -> str:
        """The state after one beat, in words. The token is in none of them."""
        try:
            headers = {"authorization": f"Bearer {self._token()}", "content-type": "application/json"}
            answer = self._client.post(self._url, content=msgspec.json.encode(gpus), headers=headers)
        except httpx.HTTPError as fault:
            return f"{self._where} does not answer ({type(fault).__name__}); trying on"
        except OSError as fault:
            return f"the token cannot be read ({fault.strerror}); trying on"
        if answer.is_success:
            told = ", ".join(f"{gpu.name} {gpu.fault}" for gpu in gpus if gpu.fault is not None)
            return f"telling {self._where} of {len(gpus)} GPUs" + _unused(answer) + (f"; unfit: {told}" if told else "")
        return f"{self._where} refuses with {answer.status_code}{_why(answer)}; trying on"

    def _become(self, state: str) -> None:
        if state != self._state:
            self._state = state
            self._say(state)


def _unused(answer: httpx.Response) -> str:
    """A gateway of an older version does not say."""
    try:
        return "; no worker of its policy has any of them" if answer.json()["used"] == 0 else ""
    except (ValueError, KeyError, TypeError):
        return ""


def _why(answer: httpx.Response) -> str:
    try:
        return f": {answer.json()['error']['message']}"
    except (ValueError, KeyError, TypeError):
        return ""
