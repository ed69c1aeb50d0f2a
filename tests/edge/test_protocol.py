"""Raw bytes against a real server: what is served, what is refused and how, what never comes, and who refuses what."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from collections.abc import Iterator

import httptools
import pytest

from gateway.edge.deadline import Patience
from gateway.edge.head import MAX_HEAD_BYTES, MAX_HEADERS, MAX_TARGET_BYTES
from gateway.edge.reading import MAX_AHEAD_BYTES, MAX_BARREN_BYTES
from tests.edge.serving import BIG_PIECE, BIG_PIECES, WAIT_SECONDS, Server, listen, serving

HOST = b"Host: h\r\n"
GET = b"GET /get HTTP/1.1\r\n" + HOST
POST = b"POST /post HTTP/1.1\r\n" + HOST
CHUNKED = b"Transfer-Encoding: chunked\r\n"
BODY = CHUNKED + b"\r\n2\r\nhi\r\n0\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\n" + HOST + b"\r\n"
LAST = b"GET /last HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
HASTE = Patience(head=0.4, idle=0.4, send=0.4)
SOON = 0.95
"""The event loop's clock counts milliseconds."""
STEADY_SECONDS = 1.2
CROWD = 200
FLOOD = 600_000
"""Bytes; more than one read takes."""


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with serving(Patience()) as server:
        yield server


@pytest.fixture
def server(running: Server) -> Server:
    running.seen.clear()
    return running


@pytest.fixture(scope="module")
def hasty() -> Iterator[Server]:
    """A server without patience."""
    with serving(HASTE) as server:
        yield server


# What is refused. In the first table llhttp does it, in the second we do.

BY_LLHTTP = {
    "bare CR": GET + b"X: a\rb\r\n\r\n",
    "bare LF": GET + b"X: a\nY: b\r\n\r\n",
    "LF after the request line": b"GET /get HTTP/1.1\n" + HOST + b"\r\n",
    "LF only": b"GET /get HTTP/1.1\nHost: h\n\n",
    "LF as the empty line": GET + b"\n",
    "CR CR LF": GET + b"X: a\r\r\n\r\n",
    "obs-fold": GET + b"X: a\r\n b\r\n\r\n",
    "obs-fold by tab": GET + b"X: a\r\n\tb\r\n\r\n",
    "fold before the first header": b"GET /get HTTP/1.1\r\n X: a\r\n" + HOST + b"\r\n",
    "NUL in a value": GET + b"X: a\0b\r\n\r\n",
    "NUL in a name": GET + b"X\0: a\r\n\r\n",
    "control character": GET + b"X: a\x01\r\n\r\n",
    "blank before the colon": POST + b"Content-Length : 2\r\n\r\nhi",
    "tab before the colon": POST + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "blank in a name": GET + b"X Y: a\r\n\r\n",
    "no name": GET + b": a\r\n\r\n",
    "no colon": GET + b"X\r\n\r\n",
    "name beyond ASCII": GET + b"X\xe4: a\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "lower-case method": b"get /get HTTP/1.1\r\n" + HOST + b"\r\n",
    "unknown method": b"BREW /get HTTP/1.1\r\n" + HOST + b"\r\n",
    "HTTP/1.2": b"GET /get HTTP/1.2\r\n" + HOST + b"\r\n",
    "HTTP/3": b"GET /get HTTP/3\r\n" + HOST + b"\r\n",
    "version beyond two digits": b"GET /get HTTP/1.11\r\n" + HOST + b"\r\n",
    "blank after the version": b"GET /get HTTP/1.1 \r\n" + HOST + b"\r\n",
    "tab in the target": b"GET /g\tet HTTP/1.1\r\n" + HOST + b"\r\n",
    "target beyond ASCII": b"GET /\xe4 HTTP/1.1\r\n" + HOST + b"\r\n",
    "NUL in the target": b"GET /\0 HTTP/1.1\r\n" + HOST + b"\r\n",
    "target without a slash": b"GET get HTTP/1.1\r\n" + HOST + b"\r\n",
    "lengths that differ": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi!",
    "lengths that agree": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
    "list of lengths": POST + b"Content-Length: 2, 2\r\n\r\nhi",
    "negative length": POST + b"Content-Length: -2\r\n\r\nhi",
    "signed length": POST + b"Content-Length: +2\r\n\r\nhi",
    "hexadecimal length": POST + b"Content-Length: 0x2\r\n\r\nhi",
    "two numbers": POST + b"Content-Length: 2 2\r\n\r\nhi",
    "empty length": POST + b"Content-Length: \r\n\r\n",
    "length past 64 bits": POST + b"Content-Length: 18446744073709551616\r\n\r\n",
    "length and coding": POST + b"Content-Length: 2\r\n" + BODY,
    "coding and length": POST + CHUNKED + b"Content-Length: 2\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "coding that is not chunked": POST + b"Transfer-Encoding: gzip\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "chunked is not last": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
    "chunked and then identity": POST + CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + CHUNKED + BODY,
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "vertical tab before the coding": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "empty coding": POST + b"Transfer-Encoding:\r\n\r\n",
    "chunk size with a sign": POST + CHUNKED + b"\r\n+2\r\nhi\r\n0\r\n\r\n",
    "chunk size with 0x": POST + CHUNKED + b"\r\n0x2\r\nhi\r\n0\r\n\r\n",
    "chunk size with a blank": POST + CHUNKED + b"\r\n2 \r\nhi\r\n0\r\n\r\n",
    "no chunk size": POST + CHUNKED + b"\r\n\r\nhi\r\n0\r\n\r\n",
    "chunk size past 64 bits": POST + CHUNKED + b"\r\n10000000000000000\r\nhi\r\n0\r\n\r\n",
    "LF after the chunk size": POST + CHUNKED + b"\r\n2\nhi\r\n0\r\n\r\n",
    "LF after the chunk": POST + CHUNKED + b"\r\n2\r\nhi\n0\r\n\r\n",
    "LF after an extension": POST + CHUNKED + b"\r\n2;a\nhi\r\n0\r\n\r\n",
    "NUL in an extension": POST + CHUNKED + b"\r\n2;\0\r\nhi\r\n0\r\n\r\n",
    "line break in a quoted extension": POST + CHUNKED + b'\r\n2;a="\r\n"\r\nhi\r\n0\r\n\r\n',
    "chunk longer than it says": POST + CHUNKED + b"\r\n2\r\nhi!\r\n0\r\n\r\n",
    "LF in the trailers": POST + CHUNKED + b"\r\n2\r\nhi\r\n0\r\nT: a\n\r\n",
    "length as a trailer": POST + CHUNKED + b"\r\n2\r\nhi\r\n0\r\nContent-Length: 5\r\n\r\n",
}
BY_US = {
    "HTTP/0.9": b"GET /get\r\n\r\n",
    "HTTP/0.9 by name": b"GET /get HTTP/0.9\r\n\r\n",
    "HTTP/2.0": b"GET /get HTTP/2.0\r\n" + HOST + b"\r\n",
    "RTSP": b"OPTIONS /get RTSP/1.0\r\n" + HOST + b"\r\n",
    "two blanks": b"GET  /get HTTP/1.1\r\n" + HOST + b"\r\n",
    "target without a path": b"GET http://h HTTP/1.1\r\n" + HOST + b"\r\n",
    "LF in the authority": b"GET http://h\nX:/ HTTP/1.0\r\n" + HOST + b"\r\n",
    "two ports": b"GET http://h:1:2/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "target of the server": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "CR first": b"\r" + GET + b"\r\n",
    "LF first": b"\n" + GET + b"\r\n",
    "no host": b"GET /get HTTP/1.1\r\n\r\n",
    "two hosts": GET + HOST + b"\r\n",
    "two hosts in HTTP/1.0": b"GET /get HTTP/1.0\r\n" + HOST + HOST + b"\r\n",
    "two codings": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"POST /post HTTP/1.0\r\n" + BODY,
    "two empty lines first": b"\r\n\r\n" + GET + b"\r\n",
}
TUNNEL = b"CONNECT h:443 HTTP/1.1\r\n" + HOST + b"\r\n"
REFUSED = {**BY_LLHTTP, **BY_US, "CONNECT": TUNNEL}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("bytewise", [False, True])
def test_a_refusal_is_plain_and_the_last_word(server: Server, name: str, bytewise: bool) -> None:
    raw = REFUSED[name] + SMUGGLED
    answers = server.ask(*([raw[i : i + 1] for i in range(len(raw))] if bytewise else [raw]))
    assert [answer.status for answer in answers] == [400], answers
    assert answers[0].plain
    assert not server.seen


@pytest.mark.parametrize("name", BY_LLHTTP)
def test_llhttp_refuses_what_we_leave_to_it(name: str) -> None:
    with pytest.raises(httptools.HttpParserError):
        httptools.HttpRequestParser(object()).feed_data(BY_LLHTTP[name])


@pytest.mark.parametrize("name", BY_US)
def test_llhttp_lets_through_what_we_refuse(name: str) -> None:
    httptools.HttpRequestParser(object()).feed_data(BY_US[name])


def test_a_refusal_does_not_repeat_what_it_refuses(server: Server) -> None:
    two_ports = b"GET http://secret:1:2/ HTTP/1.1\r\n" + HOST + b"\r\n"
    for raw in (b"GET /secret HTTP/1.1\r\n" + HOST + HOST + b"\r\n", GET + b"X: secret\0\r\n\r\n", two_ports):
        answers = server.ask(raw)
        assert b"secret" not in answers[0].body


LARGE = {
    "one header": (GET + b"X: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n", 431),
    "a header without an end": (GET + b"X: " + b"a" * MAX_HEAD_BYTES, 431),
    "a name without an end": (GET + b"a" * MAX_HEAD_BYTES, 431),
    "headers without an end": (GET + b"X: a\r\n" * (MAX_HEAD_BYTES // 6), 431),
    "many headers": (GET + b"X: a\r\n" * MAX_HEADERS + b"\r\n", 431),
    "target": (b"GET /" + b"a" * MAX_TARGET_BYTES + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "a target without an end": (b"GET /" + b"a" * MAX_TARGET_BYTES, 414),
    "a chunk extension": (POST + CHUNKED + b"\r\n2;" + b"a" * FLOOD + b"\r\nhi\r\n0\r\n\r\n", 400),
    "a chunk extension without an end": (POST + CHUNKED + b"\r\n2;" + b"a" * FLOOD, 400),
    "zeros": (POST + CHUNKED + b"\r\n" + b"0" * FLOOD, 400),
    "trailers": (POST + CHUNKED + b"\r\n0\r\n" + b"T: a\r\n" * (FLOOD // 6) + b"\r\n", 400),
}


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("size", [1 << 20, 1000], ids=["whole", "in pieces"])
def test_what_is_too_large(server: Server, name: str, size: int) -> None:
    raw, status = LARGE[name]
    answers = server.ask(*(raw[at : at + size] for at in range(0, len(raw), size)))
    assert [answer.status for answer in answers] == [status]
    assert answers[0].plain
    assert not server.seen


def test_what_is_just_small_enough(server: Server) -> None:
    filler = MAX_HEAD_BYTES - len(GET) - len(b"X: \r\n\r\n")
    line = b"GET /" + b"a" * (MAX_TARGET_BYTES - len(b"GET / HTTP/1.1")) + b" HTTP/1.1\r\n"
    for raw in (
        GET + b"X: " + b"a" * filler + b"\r\n\r\n",
        GET + b"X: a\r\n" * (MAX_HEADERS - 1) + b"\r\n",
        line + HOST + b"\r\n",
        POST + CHUNKED + b"\r\n2;" + b"a" * (MAX_BARREN_BYTES - 10) + b"\r\nhi\r\n0\r\n\r\n",
    ):
        assert [answer.status for answer in server.ask(raw + LAST)] == [200, 200]


def test_a_refusal_reaches_a_caller_that_goes_on_sending(server: Server) -> None:
    """Ten times the limit, most of it unread when the answer is written: a reset must not overtake it."""
    answers = server.ask(GET, *[b"X: " + b"a" * 65536 + b"\r\n"] * 5)
    assert [answer.status for answer in answers] == [431]


# What is served.

SERVED = {
    "get": (GET + b"\r\n", b""),
    "empty line first": (b"\r\n" + GET + b"\r\n", b""),
    "sized": (POST + b"Content-Length: 2\r\n\r\nhi", b"hi"),
    "blanks around the length": (POST + b"Content-Length: \t 2 \t\r\n\r\nhi", b"hi"),
    "empty": (POST + b"Content-Length: 0\r\n\r\n", b""),
    "chunked": (POST + b"Transfer-Encoding: Chunked\r\n\r\n1\r\nh\r\n01;a=b\r\ni\r\n0\r\n\r\n", b"hi"),
    "trailers": (POST + CHUNKED + b"\r\n2\r\nhi\r\n0\r\nX-Trailer: 1\r\nHost: evil\r\n\r\n", b"hi"),
    "ends within chunks": (POST + CHUNKED + b"\r\n9\r\n\r\n\r\n0\r\n\r\n\r\n6\r\n\r\n\r\n\r\n\r\n0\r\n\r\n", None),
    "absolute target": (b"GET http://h/get HTTP/1.1\r\n" + HOST + b"\r\n", b""),
    "h2c offered": (GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n", b""),
    "h2c offered with a body": (
        POST + b"Connection: Upgrade\r\nupgrade: h2c\r\nContent-Length: 2\r\n\r\nhi", b"hi"
    ),
    "h2c offered with chunks": (POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + BODY, b"hi"),
    "websocket offered": (GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n", b""),
}  # fmt: skip


@pytest.mark.parametrize("name", SERVED)
@pytest.mark.parametrize("size", [1 << 20, 1, 7], ids=["whole", "bytewise", "in pieces"])
def test_requests_are_served_in_order_however_they_are_cut(server: Server, name: str, size: int) -> None:
    raw, body = SERVED[name]
    raw = raw + NEXT + raw + LAST
    answers = server.ask(*(raw[at : at + size] for at in range(0, len(raw), size)))
    assert [answer.status for answer in answers] == [200] * 4, answers
    assert [path for _, path, _ in server.seen] == [server.seen[0][1], "/next", server.seen[0][1], "/last"]
    assert server.seen[0][1] in ("/get", "/post")
    if body is not None:
        assert server.seen[0][2] == server.seen[2][2] == body
    assert not any(name == b"x-trailer" for name, _ in server.headers)


@pytest.mark.parametrize("name", ["sized", "trailers", "h2c offered with a body"])
def test_a_cut_at_any_byte_changes_nothing(server: Server, name: str) -> None:
    raw = SERVED[name][0] + LAST
    whole = [(answer.status, answer.body) for answer in server.ask(raw)]
    for at in range(1, len(raw)):
        assert [(answer.status, answer.body) for answer in server.ask(raw[:at], raw[at:])] == whole


def test_trailers_do_not_become_headers(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(POST + CHUNKED + b"\r\n2\r\nhi\r\n0\r\nX-Data-Residency: local\r\n\r\n")
        assert listen(connection, 1)[0].status == 200
    assert [name for name, _ in server.headers] == [b"host", b"transfer-encoding"]


def test_values_are_without_the_blanks_around_them(server: Server) -> None:
    server.ask(GET + b"X: \t a b \t\r\nY: \r\nZ:\r\nConnection: close\r\n\r\n")
    assert server.headers == [(b"host", b"h"), (b"x", b"a b"), (b"y", b""), (b"z", b""), (b"connection", b"close")]


@pytest.mark.parametrize("headers", [b"", b"Connection: keep-alive\r\n"])
def test_http_1_0_gets_one_answer(server: Server, headers: bytes) -> None:
    answers = server.ask(b"GET /get HTTP/1.0\r\n" + headers + b"\r\n" + NEXT)
    assert [answer.status for answer in answers] == [200]
    assert answers[0].headers["connection"] == "close"


# Smuggling: a request inside a request.

INNER = SMUGGLED
_SIZE = b"%d" % len(INNER)
_INNER_CHUNK = b"%x\r\n%b\r\n" % (len(INNER), INNER)
_INNER_CHUNKS = b"\r\n" + _INNER_CHUNK + b"0\r\n\r\n"
SMUGGLING = {
    "CL.TE": POST + b"Content-Length: " + _SIZE + b"\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + INNER,
    "TE.CL": POST + CHUNKED + b"Content-Length: 4\r\n" + _INNER_CHUNKS,
    "TE.TE by case": POST + b"transfer-encoding: CHUNKED\r\nTransfer-encoding: cow\r\n" + _INNER_CHUNKS,
    "TE.TE by name": POST + b"Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + INNER,
    "TE.TE by fold": POST + b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + INNER,
    "TE.TE by underscore": POST + b"Transfer_Encoding: chunked\r\nContent-Length: " + _SIZE + b"\r\n\r\n" + INNER,
    "TE.0": POST + CHUNKED + _INNER_CHUNKS,
    "CL.0": b"GET /get HTTP/1.1\r\n" + HOST + b"Content-Length: " + _SIZE + b"\r\n\r\n" + INNER,
    "CL.CL": POST + b"Content-Length: 0\r\nContent-Length: " + _SIZE + b"\r\n\r\n" + INNER,
    "CL list": POST + b"Content-Length: 0, " + _SIZE + b"\r\n\r\n" + INNER,
    "CL by bare CR": POST + b"X: a\rContent-Length: " + _SIZE + b"\r\n\r\n" + INNER,
    "CL by bare LF": POST + b"X: a\nContent-Length: " + _SIZE + b"\r\n\r\n" + INNER,
    "CL by NUL": POST + b"Content-Length: 0\0\r\n\r\n" + INNER,
    "upgrade": POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: " + _SIZE + b"\r\n\r\n" + INNER,
    "upgrade, chunked": POST + b"Connection: Upgrade\r\nUpgrade: x\r\n" + CHUNKED + _INNER_CHUNKS,
    "extension": POST + CHUNKED + b'\r\n2;a="\r\nhi\r\n0\r\n\r\n' + INNER + b'"\r\n0\r\n\r\n',
    "extension by LF": POST + CHUNKED + b"\r\n2;\nxx\r\n" + _INNER_CHUNK + b"0\r\n\r\n",
    "size past 32 bits": POST + CHUNKED + b"\r\n100000002\r\nhi\r\n0\r\n\r\n" + INNER,
    "size past 64 bits": POST + CHUNKED + b"\r\n10000000000000002\r\nhi\r\n0\r\n\r\n" + INNER,
    "chunk without an end": POST + CHUNKED + b"\r\n2\r\nhi0\r\n\r\n" + INNER,
    "trailers": POST + CHUNKED + b"\r\n0\r\nX: " + INNER,
    "HTTP/1.0": b"POST /post HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n" + INNER,
    "CONNECT": TUNNEL + INNER,
}  # fmt: skip
WAITING = {"size past 32 bits"}
"""What announces more than comes: no answer, nothing served."""


@pytest.mark.parametrize("name", SMUGGLING)
@pytest.mark.parametrize("size", [1 << 20, 1], ids=["whole", "bytewise"])
def test_one_clean_refusal_or_two_right_answers(server: Server, name: str, size: int) -> None:
    raw = SMUGGLING[name] + LAST
    with server.connect() as connection:
        for at in range(0, len(raw), size):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(raw[at : at + size])
        if name in WAITING:
            connection.shutdown(socket.SHUT_WR)
        answers = listen(connection)
    assert "/smuggled" not in [path for _, path, _ in server.seen]
    if answers and answers[-1].status == 400:
        assert len(answers) == 1
        assert answers[0].plain
        assert not server.seen
    elif name == "HTTP/1.0":
        assert [path for _, path, _ in server.seen] == ["/post"]
    elif name in WAITING:
        assert not answers
        assert not server.seen
    else:
        assert [answer.status for answer in answers] == [200, 200]
        assert [path for _, path, _ in server.seen] in (["/post", "/last"], ["/get", "/last"])
        assert server.seen[0][2] in (INNER, b"")


# Answers before the body.


def test_a_small_request_that_is_refused_keeps_its_connection(server: Server) -> None:
    answers = server.ask(b"POST /refuse HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\nhi" + LAST)
    assert [answer.status for answer in answers] == [401, 200]


@pytest.mark.parametrize("framing", [b"Content-Length: 4000000\r\n\r\n", CHUNKED + b"\r\n3d0900\r\n"])
def test_an_answer_before_the_body_is_the_last_and_arrives(server: Server, framing: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST /refuse HTTP/1.1\r\n" + HOST + framing)
        connection.sendall(SMUGGLED * (4_000_000 // len(SMUGGLED)))  # all of it, although the answer is there
        answers = listen(connection)
    assert [answer.status for answer in answers] == [401]
    assert answers[0].headers["connection"] == "close"
    assert not server.seen


def test_rubbish_after_an_early_answer_is_not_answered(server: Server) -> None:
    answers = server.ask(b"POST /refuse HTTP/1.1\r\n" + HOST + CHUNKED + b"\r\n", b"zz\r\n" + SMUGGLED)
    assert [answer.status for answer in answers] in ([401], [400])  # whichever comes first
    assert not server.seen


EXPECT = b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n"


def test_a_caller_that_expects_to_continue_is_told_to(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(POST + EXPECT)
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hi" + LAST)
        assert [answer.status for answer in listen(connection)] == [200, 200]
    assert server.seen[0] == ("POST", "/post", b"hi")


def test_a_caller_that_expects_to_continue_can_be_refused_instead(server: Server) -> None:
    """Whether it sends its body after that is its choice, so what follows can be neither body nor request."""
    with server.connect() as connection:
        connection.sendall(b"POST /refuse HTTP/1.1\r\n" + HOST + EXPECT)
        answers = listen(connection, 1)
        connection.sendall(SMUGGLED)
        assert listen(connection) == []
    assert [answer.status for answer in answers] == [401]
    assert answers[0].headers["connection"] == "close"
    assert not server.seen


def test_http_1_0_is_not_told_to_continue(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST /post HTTP/1.0\r\n" + EXPECT)
        connection.sendall(b"hi")
        assert [answer.status for answer in listen(connection)] == [200]


# The short way to answer (gateway.edge.cycle).


def exchange(server: Server, raw: bytes) -> tuple[list[str], bytes]:
    """Head lines in lower case, and all that follows them until the server ends the connection."""
    with server.connect() as connection:
        connection.sendall(raw)
        got = b""
        while more := connection.recv(1 << 16):
            got += more
    head, _, rest = got.partition(b"\r\n\r\n")
    return head.decode().lower().split("\r\n"), rest


CLOSE = HOST + b"Connection: close\r\n\r\n"
CHUNKS = b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
OUTRIGHT = {
    "whole": (b"GET /wire/whole HTTP/1.1\r\n" + CLOSE, "content-length: 5", b"hello"),
    "whole, HEAD": (b"HEAD /wire/whole HTTP/1.1\r\n" + CLOSE, "content-length: 5", b""),
    "whole, HTTP/1.0": (b"GET /wire/whole HTTP/1.0\r\n\r\n", "content-length: 5", b"hello"),
    "stream": (b"GET /wire/stream HTTP/1.1\r\n" + CLOSE, "transfer-encoding: chunked", CHUNKS),
    "stream, HTTP/1.0": (b"GET /wire/stream HTTP/1.0\r\n\r\n", None, b"hello"),
    "empty stream": (b"GET /wire/empty HTTP/1.1\r\n" + CLOSE, "transfer-encoding: chunked", b"0\r\n\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", OUTRIGHT)
def test_an_answer_by_the_short_way_is_framed_for_its_request(server: Server, name: str) -> None:
    raw, framing, body = OUTRIGHT[name]
    lines, rest = exchange(server, raw)
    assert lines[0] == "http/1.1 200 ok"
    assert rest == body
    assert [line for line in lines if line.startswith(("content-length", "transfer-"))] == (
        [framing] if framing else []
    )
    assert lines.count("connection: close") == 1
    assert sum(line.startswith("date: ") for line in lines) == 1


def test_the_short_way_keeps_the_connection(server: Server) -> None:
    whole = b"GET /wire/whole HTTP/1.1\r\n" + HOST + b"\r\n"
    answers = server.ask(whole + NEXT + whole + LAST)
    assert [answer.status for answer in answers] == [200] * 4
    assert [answer.body for answer in answers][::2] == [b"hello"] * 2
    assert "connection" not in answers[0].headers
    assert answers[0].headers["x-a"] == "b"


def test_a_header_that_breaks_its_line_is_never_written(server: Server) -> None:
    lines, _ = exchange(server, b"GET /wire/broken HTTP/1.1\r\n" + CLOSE)
    assert lines[0].startswith("http/1.1 500")
    assert "x-c: d" not in lines


def test_an_answer_to_head_cannot_be_a_stream(server: Server) -> None:
    lines, rest = exchange(server, b"HEAD /wire/stream HTTP/1.1\r\n" + CLOSE)
    assert lines[0].startswith("http/1.1 500")
    assert not rest


def test_who_waits_for_nobody_is_called(server: Server) -> None:
    """And what is written after that goes nowhere, without a fault."""
    server.left.clear()
    with server.connect() as connection:
        connection.sendall(b"GET /wire/hang HTTP/1.1\r\n" + CLOSE)
    assert server.left.wait(WAIT_SECONDS)


def test_who_leaves_after_a_large_upload_is_missed_too(server: Server) -> None:
    """Reading stops while so much of a body waits for the application, and must go on when it has taken all of it."""
    server.left.clear()
    with server.connect() as connection:
        connection.sendall(
            b"POST /wire/hang HTTP/1.1\r\n" + HOST + b"Content-Length: 8000000\r\n\r\n" + bytes(8_000_000)
        )
        deadline = time.monotonic() + WAIT_SECONDS
        while not server.seen:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    assert server.left.wait(WAIT_SECONDS)
    assert len(server.seen[0][2]) == 8_000_000


def test_a_slow_reader_is_told_of_and_waited_for(server: Server) -> None:
    server.left.clear()
    with server.connect() as connection:
        connection.sendall(b"GET /wire/flood HTTP/1.1\r\n" + CLOSE)
        assert server.left.wait(WAIT_SECONDS), "it pauses although nobody has read"
        size = 0
        while more := connection.recv(1 << 20):
            size += len(more)
    assert size > len(BIG_PIECE)
    assert server.paused_after > 0, "there was room again"


# Sending ahead, and leaving.


def test_many_requests_in_one_go_are_answered_in_order(server: Server) -> None:
    wanted = [f"/{number}" for number in range(3000)]
    ask = b"".join(b"POST %b HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx" % path.encode() for path in wanted)
    with server.connect() as connection:
        connection.sendall(ask + LAST)
        answers = listen(connection)
    assert [path for _, path, _ in server.seen] == [*wanted, "/last"]
    assert [json.loads(answer.body)[1] for answer in answers] == [*wanted, "/last"]


def test_who_sends_ahead_and_leaves_is_missed(server: Server) -> None:
    """The request at work hears of it, not the one behind it."""
    server.left.clear()
    with server.connect() as connection:
        connection.sendall(b"GET /hang HTTP/1.1\r\n" + HOST + b"\r\n" + SMUGGLED)
    assert server.left.wait(WAIT_SECONDS)
    assert not server.seen


def test_who_sends_too_far_ahead_and_leaves_is_missed_too(server: Server) -> None:
    server.left.clear()
    with server.connect() as connection:
        connection.sendall(b"GET /hang HTTP/1.1\r\n" + HOST + b"\r\n")
        connection.sendall(SMUGGLED * (10 * MAX_AHEAD_BYTES // len(SMUGGLED)))
    assert server.left.wait(WAIT_SECONDS)
    assert not server.seen


def test_who_sends_too_far_ahead_gets_the_answer_at_work_and_no_other(server: Server) -> None:
    server.left.clear()
    with server.connect() as connection:
        connection.sendall(b"GET /wire/flood HTTP/1.1\r\n" + HOST + b"\r\n")
        assert server.left.wait(WAIT_SECONDS), "it is being answered"
        connection.sendall(SMUGGLED * (10 * MAX_AHEAD_BYTES // len(SMUGGLED)))
        got = bytearray()
        while more := connection.recv(1 << 20):
            got += more
    assert got.endswith(b"\r\n0\r\n\r\n")
    assert [path for _, path, _ in server.seen] == ["/wire/flood"]


@pytest.mark.parametrize("raw", [GET, POST + b"Content-Length: 5\r\n\r\nhi", POST + CHUNKED + b"\r\n5\r\nhi"])
def test_half_a_request_is_none(server: Server, raw: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        assert listen(connection) == []
    assert not server.seen


# Deadlines.


def test_a_connection_without_a_byte_is_closed_without_one(hasty: Server) -> None:
    started = time.monotonic()
    assert hasty.ask() == []
    assert SOON * HASTE.head <= time.monotonic() - started < 5 * HASTE.head


def test_half_a_head_is_given_up(hasty: Server) -> None:
    answers = hasty.ask(GET + b"X:")
    assert [answer.status for answer in answers] == [408]
    assert answers[0].plain


def test_a_head_byte_by_byte_gets_no_more_time(hasty: Server) -> None:
    started = time.monotonic()
    with hasty.connect() as connection:
        connection.sendall(GET)
        while not select.select([connection], [], [], 0.02)[0]:
            connection.sendall(b"X: a\r\n")
            assert time.monotonic() - started < 5 * HASTE.head
        assert [answer.status for answer in listen(connection)] == [408]
    assert time.monotonic() - started >= SOON * HASTE.head


def test_an_unused_connection_is_closed_after_its_answer(hasty: Server) -> None:
    with hasty.connect() as connection:
        connection.sendall(GET + b"\r\n")
        assert [answer.status for answer in listen(connection, 1)] == [200]
        started = time.monotonic()
        connection.sendall(GET + b"\r\n")
        assert [answer.status for answer in listen(connection)] == [200]
        assert SOON * HASTE.idle <= time.monotonic() - started < 5 * HASTE.idle


def test_a_request_at_work_has_no_deadline_here(hasty: Server) -> None:
    hasty.left.clear()
    with hasty.connect() as connection:
        connection.sendall(b"GET /hang HTTP/1.1\r\n" + HOST + b"\r\n")
        assert not select.select([connection], [], [], 2 * HASTE.head)[0]
        assert not hasty.left.is_set()
    assert hasty.left.wait(WAIT_SECONDS)


@pytest.mark.parametrize("ending", [b"\r\n", b"Connection: close\r\n\r\n", b"\r\n" + NEXT], ids=["", "close", "ahead"])
@pytest.mark.parametrize("path", [b"/big", b"/huge"])
def test_who_does_not_read_its_answer_is_cut_off(hasty: Server, path: bytes, ending: bytes) -> None:
    """Whether the application still waits to write or has written all, and whether another request waits behind it."""
    hasty.left.clear()
    with hasty.connect() as connection:
        connection.sendall(b"GET " + path + b" HTTP/1.1\r\n" + HOST + ending)
        assert hasty.left.wait(WAIT_SECONDS)
        time.sleep(3 * HASTE.send if path == b"/huge" else 0)  # nothing tells the outside that the rest is dropped
        got = 0
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(1 << 20):
                got += len(piece)
    assert 0 < got < len(BIG_PIECE) * BIG_PIECES


@pytest.mark.parametrize("ending", [b"\r\n", b"Connection: close\r\n\r\n", b"\r\n" + LAST], ids=["", "close", "ahead"])
def test_who_reads_slowly_but_steadily_gets_all(hasty: Server, ending: bytes) -> None:
    """Also of what was written in one go, and the request behind it has its turn."""
    wanted, got, started = len(BIG_PIECE) * BIG_PIECES, bytearray(), time.monotonic()
    with hasty.connect() as connection:
        connection.sendall(b"GET /huge HTTP/1.1\r\n" + HOST + ending)
        while len(got) < wanted and (piece := connection.recv(len(BIG_PIECE))):
            got += piece
            time.sleep(STEADY_SECONDS / BIG_PIECES)
        assert time.monotonic() - started > 2 * HASTE.send
        while not ending.endswith(LAST) or b'"/last"' not in got[-100:]:
            if not (piece := connection.recv(1 << 16)):
                break
            got += piece
    assert got.count(b"x" * 1024) == wanted // 1024
    assert got.endswith(b'["GET", "/last", ""]') == ending.endswith(LAST)


def test_a_crowd_of_slow_callers_does_not_stop_the_others(hasty: Server) -> None:
    with contextlib.ExitStack() as stack:
        crowd = []
        for number in range(CROWD):
            crowd.append(stack.enter_context(hasty.connect()))
            crowd[-1].sendall((GET + b"X: a\r\n")[: 1 + number % (len(GET) + 4)])  # at once: silence has its own end
        started = time.monotonic()
        assert [answer.status for answer in hasty.ask(LAST)] == [200]
        assert time.monotonic() - started < HASTE.head
        for connection in crowd:
            assert [answer.status for answer in listen(connection)] == [408]
        assert time.monotonic() - started < 5 * HASTE.head
