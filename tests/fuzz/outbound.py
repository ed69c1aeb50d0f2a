"""What the gateway takes for an upstream's answer, checked against itself (cut anywhere) and against h11."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import h11

from gateway.errors import BadAnswer
from gateway.upstreams.http1 import wire
from gateway.upstreams.http1.wire import MAX_HEAD_BYTES, Response
from tests.fuzz.inbound import cut

TARGETS = (wire.__file__,)
_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
SEEDS = (
    _OK + b"Content-Length: 5\r\n\r\nhello",
    _OK + b"Content-Length: 0\r\n\r\nHTTP/1.1 500 No\r\n\r\n",
    _CHUNKED + b"5;a=b\r\nhello\r\n1\r\nx\r\n0\r\nT: 1\r\n\r\n",
    b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\n" + _OK + b"Content-Length: 2\r\n\r\nhi",
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nuntil the end",
    b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 101 Up\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    _OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
)
TOKENS = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b";", b",", b"0", b"5", b"a", b"\x80", b"HTTP/1.1 ",
    b"HTTP/1.0 ", b"HTTP/2 ", b"100", b"101", b"200", b"204", b"304", b"600", b"HTTP/1.1 100 C\r\n\r\n",
    b"Content-Length: 5\r\n", b"content-length:0\r\n", b"Transfer-Encoding: chunked\r\n", b"gzip, ", b"chunked",
    b"Transfer-Encoding: identity\r\n", b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: x\r\n",
    b"0\r\n\r\n", b"5\r\nhello\r\n", b"0005\r\n", b"ffffffffffffffff\r\n", b'1;a="b"\r\nx\r\n', b" folded\r\n",
)  # fmt: skip

CODING = "Only Transfer-Encoding: chunked is supported"
"""What h11 says of trailers and of 1xx heads too, which are nothing to us."""


@dataclass(slots=True)
class Outcome:
    status: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    complete: bool = False
    refused: str = ""
    reusable: bool = False


def run(pieces: Sequence[bytes], *, bodyless: bool = False) -> Outcome:
    """What an exchange would see of these bytes, and then of the connection's end."""
    response, refused = Response(bodyless=bodyless), ""
    body, reusable = b"", False
    try:
        for piece in pieces:
            response.feed(piece)
            body += response.take()
            held = len(response._partial or b"")
            assert held <= MAX_HEAD_BYTES
        reusable = response.complete and response.reusable
        response.eof()
    except BadAnswer as fault:
        refused = str(fault)
    body += response.take()
    return Outcome(response.status, tuple(response.headers), body, response.complete, refused, reusable)


def second_opinion(raw: bytes, *, bodyless: bool) -> tuple[int, bytes, bool] | str:
    """Status, body and whether the connection may be used again; where h11 sees no whole answer, why."""
    peer = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 16)
    peer.send(h11.Request(method="HEAD" if bodyless else "GET", target="/", headers=[("host", "h")]))
    peer.send(h11.EndOfMessage())
    status, body, ended = 0, b"", False
    peer.receive_data(raw)
    try:
        while not isinstance(event := peer.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif event in (h11.NEED_DATA, h11.PAUSED, h11.ConnectionClosed()):
                if ended:
                    return "unfinished"
                peer.receive_data(b"")
                ended = True
    except h11.RemoteProtocolError as fault:
        return str(fault)
    return status, body, not ended and peer.their_state is h11.DONE and not peer.trailing_data[0]


def check(raw: bytes, cuts: Sequence[int]) -> frozenset[str]:
    """Runs the input whole and cut. Raises AssertionError where one of them is wrong; returns what was seen."""
    features = set()
    for bodyless in (False, True):
        whole, split = run([raw], bodyless=bodyless), run(cut(raw, cuts), bodyless=bodyless)
        assert whole.status == split.status
        assert whole.headers == split.headers
        assert (whole.body, whole.complete) == (split.body, split.complete)
        assert bool(whole.refused) == bool(split.refused)
        assert whole.reusable or not split.reusable, "a cut must not make a connection more trustworthy"
        other = second_opinion(raw, bodyless=bodyless)
        if isinstance(other, str):
            codings = [value.strip().lower() for name, value in whole.headers if name == b"transfer-encoding"]
            elsewhere = other == CODING and codings in ([], [b"chunked"])
            assert elsewhere or not whole.reusable, (whole, other)
        elif whole.complete:
            assert (whole.status, whole.body) == other[:2], (whole, other)
            assert other[2] or not whole.reusable, (whole, other)
        features.add(f"{bodyless} {whole.status // 100} {whole.complete} {whole.reusable} {isinstance(other, str)}")
        features.add(f"reason {whole.refused}")
    return frozenset(features)
