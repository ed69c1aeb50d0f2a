"""Servers on sockets that note every request they get, and answer as told: workers of ours and bought APIs alike.

What each says is `wires.reply`, from the request alone: the nonce of whoever asked stands in its tickets and results
too, so that every call that follows tells whose it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from random import Random
from types import TracebackType
from typing import NamedTuple, Self

from loadtests.residency import wires
from loadtests.residency.memory import ERROR, LATE_SECONDS, Mood, framed

HOST = "127.0.0.1"
MOODS: tuple[Mood, ...] = ("reset", "hang", "cut", "late", 429, 500, 503)
WEIGHTS = (4, 1, 4, 6, 4, 4, 4)
PAGES: Mapping[bytes, tuple[bytes, bytes]] = {
    b"/metrics": (b"text/plain", b"vllm_omni:num_requests_running 0\nvllm_omni:num_requests_waiting 0\n"),
    b"/health": (b"text/plain", b""),
    b"/version": (b"application/json", b'{"version": "0.12.0"}'),
    b"/v1/models": (b"application/json", b'{"object": "list", "data": [{"id": "m", "object": "model"}]}'),
}
"""What a worker is asked for that nobody's request is about."""


class Delivery(NamedTuple):
    """`nonce` None: what came says nothing of a caller."""

    host: str
    nonce: str | None
    line: str


class Witness:
    """`trouble`: of each host the share of its requests that go wrong; 1.0: nobody answers there any more,
    yet what is sent there is noted. `journal`: every delivery, as soon as it said whose it is."""

    def __init__(self, hosts: Sequence[str], rng: Random) -> None:
        self.hosts, self.rng = tuple(hosts), rng
        self.journal: list[Delivery] = []
        self.trouble = dict.fromkeys(hosts, 0.0)
        self.urls: dict[str, str] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for host in self.hosts:
            server = await loop.create_server(lambda host=host: _Far(self, host), HOST, 0)  # type: ignore[misc]
            self._stack.callback(server.close)
            self.urls[host] = f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def gone(self, host: str) -> bool:
        return self.trouble[host] >= 1.0

    def mood(self, host: str) -> Mood:
        if self.rng.random() >= self.trouble[host]:
            return "answer"
        return self.rng.choices(MOODS, WEIGHTS)[0]


class _Far(asyncio.Protocol):
    """One connection. Requests come one after the other: the gateway never sends ahead."""

    def __init__(self, witness: Witness, host: str) -> None:
        self._witness, self._host = witness, host
        self._part = b""
        self._noted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Noted as soon as it says whose it is: an upload that breaks off was sent all the same."""
        self._part += data
        whole = wires.whole(self._part)
        nonce = wires.nonce_of(self._part)
        if not self._noted and (nonce is not None or (whole and not self._is_page())):
            self._noted = True
            line = self._part.split(b"\r\n", 1)[0].decode("latin-1")
            self._witness.journal.append(Delivery(self._host, None if nonce is None else nonce.decode(), line))
        if self._witness.gone(self._host) and (self._noted or whole):
            self._transport.abort()
        elif whole:
            request, page, self._part, self._noted = self._part, self._is_page(), b"", False
            self._answer("answer" if page else self._witness.mood(self._host), request)

    def _path(self) -> bytes:
        return self._part.split(b" ", 2)[1].partition(b"?")[0]

    def _is_page(self) -> bool:
        return self._part.startswith(b"GET ") and self._path() in PAGES

    def _answer(self, mood: Mood, request: bytes) -> None:
        if self._transport.is_closing() or mood == "hang":
            return
        if mood == "reset":
            self._transport.abort()
        elif mood == "late":
            asyncio.get_running_loop().call_later(LATE_SECONDS, self._answer, "answer", request)
        elif isinstance(mood, int):
            self._transport.write(b"HTTP/1.1 %d No\r\n" % mood + framed(b"application/json", ERROR))
        else:
            path = request.split(b" ", 2)[1].partition(b"?")[0]
            page = PAGES.get(path) if request.startswith(b"GET ") else None
            kind, body = page or wires.reply(request, self._witness.urls[self._host].removeprefix("http://"))
            whole = b"HTTP/1.1 200 OK\r\n" + framed(kind, body)
            self._transport.write(whole if mood == "answer" else whole[: -len(body) // 2])
            if mood == "cut":
                self._transport.close()
