"""What the gateway takes for requests, checked against itself (cut anywhere) and against h11 (a second opinion)."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import h11
import uvicorn
from uvicorn.server import ServerState

from gateway.edge import head, protocol
from gateway.edge.protocol import Protocol

TARGETS = (head.__file__, protocol.__file__)
_GET = b"GET /a HTTP/1.1\r\nHost: h\r\n"
_POST = b"POST /b HTTP/1.1\r\nHost: h\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
SEEDS = (
    _GET + b"\r\n",
    _GET + b"\r\n" + _GET + b"Connection: close\r\n\r\n" + _GET + b"\r\n",
    _POST + b"Content-Length: 5\r\n\r\nhello" + _GET + b"\r\n",
    _POST + _CHUNKED + b"5;x=y\r\nhello\r\n0\r\nT: 1\r\n\r\n" + _GET + b"\r\n",
    _POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi" + _GET + b"\r\n",
    _POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
    b"GET http://h/a?b=c HTTP/1.0\r\n\r\n",
    b"POST /b HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    _POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    _GET + b"Host: i\r\n\r\n",
    _POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    _POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
)
TOKENS = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b";", b",", b"0", b"5", b"a", b"/", b"\x80",
    b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"RTSP/1.1", b"GET ", b"POST ", b"HEAD ", b"CONNECT ", b"PRI * ",
    b"OPTIONS * ", b"Host: h\r\n", b"Content-Length: 5\r\n", b"content-length:0\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n", b"identity", b"chunked", b"Connection: close\r\n",
    b"Connection: keep-alive, upgrade\r\n", b"Upgrade: websocket\r\n", b"Expect: 100-continue\r\n", b"0\r\n\r\n",
    b"5\r\nhello\r\n", b"0005\r\n", b"ffffffffffffffff\r\n", b'1;a="b"\r\nx\r\n', b" folded\r\n",
    b"http://", b"%2f", b"#",
)  # fmt: skip

EMPTY_LINE = "no request line received"
"""h11 refuses the empty line that RFC 9112 section 2.2 asks a server to ignore before a request."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
Headers = tuple[tuple[bytes, bytes], ...]
Request = tuple[str, bytes, Headers, bytes]
"""Method, target, headers and body."""
_RESHAPED = frozenset({b"content-length", b"transfer-encoding", b"upgrade"})
"""Headers that h11 writes anew, and the one that we drop where it would have an effect."""


def kept(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    return tuple((name, value) for name, value in headers if name not in _RESHAPED)


@dataclass(slots=True)
class Outcome:
    requests: list[Request] = field(default_factory=list)
    written: bytes = b""
    """Without any "100 Continue": whether one is worth sending depends on how fast the body comes."""
    closed: bool = False
    """By the gateway."""

    @property
    def refused(self) -> str | None:
        """The plain answer's status and text, if there is one."""
        found = re.search(rb"HTTP/1\.1 (\d+) [^\r]*\r\ncontent-type: text/plain.*?\r\n\r\n([^\n]*)", self.written, re.S)
        return b" ".join(found.groups()).decode() if found else None


class Pipe(asyncio.Transport):
    """A transport that goes nowhere."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self._outcome = outcome

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        assert not self._outcome.closed, "written after the end"
        if data != CONTINUE:
            self._outcome.written += data

    def close(self) -> None:
        self._outcome.closed = True

    write_eof = abort = close

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self._outcome.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        raise AssertionError("an input of this size must not fill anything")


Message = MutableMapping[str, Any]


def echo(outcome: Outcome) -> Callable[..., Awaitable[None]]:
    """An application that takes each request whole and tells what it was."""

    async def app(scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[..., Any]) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        outcome.requests.append((scope["method"], target, kept(scope["headers"]), body))
        answer = json.dumps([scope["method"], target.decode("latin-1"), len(body), len(outcome.requests)]).encode()
        framing = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": framing})
        await send({"type": "http.response.body", "body": answer})

    return app


async def _run(pieces: Sequence[bytes]) -> Outcome:
    outcome = Outcome()
    config = uvicorn.Config(echo(outcome), log_config=None, proxy_headers=False, ws="none", interface="asgi3")
    state = ServerState()
    server = Protocol(config, state, {}, asyncio.get_running_loop())
    server.connection_made(Pipe(outcome))
    for piece in pieces:
        server.data_received(piece)
        await _settle(outcome)
    closed = outcome.closed
    server.connection_lost(None)
    while state.tasks:
        await asyncio.gather(*state.tasks)
    outcome.closed = closed
    return outcome


async def _settle(outcome: Outcome) -> None:
    """Lets the application run as far as it can: a request takes a turn to start and one to be answered."""
    before = -1
    while before != (before := len(outcome.written)):
        for _ in range(3):
            await asyncio.sleep(0)


_runner = asyncio.Runner()


def run(pieces: Sequence[bytes]) -> Outcome:
    return _runner.run(_run(pieces))


def cut(raw: bytes, cuts: Sequence[int]) -> list[bytes]:
    marks = sorted({0, *(at for at in cuts if 0 < at < len(raw)), len(raw)})
    return [raw[a:b] for a, b in pairwise(marks)]


def second_opinion(raw: bytes) -> tuple[list[Request], str]:
    """The requests that h11 sees, and why it stops there, if not for want of bytes."""
    peer = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 16)
    seen: list[Request] = []
    request: h11.Request | None = None
    body = b""
    peer.receive_data(raw)
    try:
        while (event := peer.next_event()) not in (h11.NEED_DATA, h11.PAUSED, h11.ConnectionClosed()):
            if isinstance(event, h11.Request):
                request, body = event, b""
                if event.method == b"CONNECT":
                    return seen, "tunnel"
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                seen.append((request.method.decode(), request.target, kept(request.headers), body))
                peer.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                peer.send(h11.EndOfMessage())
                if peer.our_state is h11.MUST_CLOSE:
                    return seen, "must close"
                peer.start_next_cycle()
    except h11.RemoteProtocolError as fault:
        return seen, str(fault)
    return seen, ""


def check(raw: bytes, cuts: Sequence[int]) -> frozenset[str]:
    """Runs the input whole and cut. Raises AssertionError where one of them is wrong; returns what was seen."""
    whole, split = run([raw]), run(cut(raw, cuts))
    assert whole.requests == split.requests, (whole.requests, split.requests)
    assert whole.written == split.written, (whole.written, split.written)
    assert whole.closed == split.closed
    assert b" 500 " not in whole.written
    answers = len(re.findall(rb"HTTP/1\.1 \d{3} ", whole.written))
    assert answers == len(whole.requests) + (whole.refused is not None), whole
    other, why = second_opinion(raw)
    ours = [(method, _origin_form(target), *rest) for method, target, *rest in whole.requests]
    theirs = [(method, _origin_form(target), *rest) for method, target, *rest in other]
    both = min(len(ours), len(theirs))
    assert ours[:both] == theirs[:both], (ours, theirs)
    assert len(ours) == both or why == EMPTY_LINE, f"h11 does not see that: {ours} {theirs} {why}"
    assert len(theirs) == both or whole.closed, f"h11 has seen more: {ours} {theirs}"
    reason = re.sub(r"\d+", "#", whole.refused or "")
    return frozenset({f"reason {reason}", f"requests {len(ours)} closed {whole.closed}", f"h11 ends {bool(why)}"})


def _origin_form(target: bytes) -> bytes:
    """Without scheme and authority, and without the fragment that must not be there."""
    return re.sub(rb"^https?://[^/]*", b"", target).partition(b"#")[0]
