"""Input that is wrong, huge or hostile: contract errors, nothing sent anywhere, nothing of it in logs or metrics."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest

from tests.gateways import KEY, Lane, Site, chat_body

LANES = [Lane("chat"), Lane("other")]
LIMIT = 4 << 20
ENV = {"GATEWAY_MAX_BODY_BYTES": str(LIMIT), "GATEWAY_BODY_SECONDS": "1", "GATEWAY_LOG_LEVEL": "debug"}
MARKER = "prompt-marker-6f1c"
JSON = "application/json"
HUGE = 100 << 20
PIECE = b"x" * (64 << 10)
MESSAGES = [{"role": "user", "content": MARKER}]


def body(**more: Any) -> bytes:
    return json.dumps({"model": "chat", "max_tokens": 4, "messages": MESSAGES, **more}).encode()


DEEP = b'{"model": "chat", "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
BODIES: dict[str, tuple[bytes, int, str, str | None]] = {
    "empty": (b"", 400, "invalid_request", None),
    "not json": (MARKER.encode(), 400, "invalid_request", None),
    "cut off": (body()[:-5], 400, "invalid_request", None),
    "trailing": (body() + b"x", 400, "invalid_request", None),
    "array": (json.dumps(MESSAGES).encode(), 400, "invalid_request", None),
    "string": (json.dumps(MARKER).encode(), 400, "invalid_request", None),
    "null": (b"null", 400, "invalid_request", None),
    "invalid utf-8": (body()[:-2] + b'\xff"}', 400, "invalid_request", None),
    "utf-16": (body().decode().encode("utf-16"), 400, "invalid_request", None),
    "nested 100,000 deep": (DEEP, 400, "invalid_request", None),
    "model missing": (json.dumps({"messages": MESSAGES}).encode(), 400, "invalid_request", "model"),
    "model null": (body(model=None), 400, "invalid_request", "model"),
    "model number": (body(model=1), 400, "invalid_request", "model"),
    "model object": (body(model={"name": MARKER}), 400, "invalid_request", "model"),
    "model empty": (body(model=""), 404, "model_not_found", "model"),
    "model unknown": (body(model=MARKER), 404, "model_not_found", "model"),
    "model very long": (body(model=MARKER * 10_000), 404, "model_not_found", "model"),
    "model surrogate": (body().replace(b'"chat"', rb'"\ud800"'), 400, "invalid_request", None),
    "stream text": (body(stream="true"), 400, "invalid_request", "stream"),
    "stream number": (body(stream=1), 400, "invalid_request", "stream"),
    "stream_options text": (body(stream=True, stream_options=MARKER), 400, "invalid_request", "stream_options"),
    "include_usage text": (
        body(stream=True, stream_options={"include_usage": MARKER}),
        400,
        "invalid_request",
        "stream_options",
    ),
    "max_tokens 0": (body(max_tokens=0), 400, "invalid_request", "max_tokens"),
    "max_tokens -1": (body(max_tokens=-1), 400, "invalid_request", "max_tokens"),
    "max_tokens text": (body(max_tokens=MARKER), 400, "invalid_request", "max_tokens"),
    "max_tokens fraction": (body(max_tokens=1.5), 400, "invalid_request", "max_tokens"),
    "max_completion_tokens 0": (body(max_completion_tokens=0), 400, "invalid_request", "max_completion_tokens"),
    "n 0": (body(n=0), 400, "invalid_request", "n"),
    "n 1000": (body(n=1000), 400, "invalid_request", "n"),
    "best_of text": (body(best_of=MARKER), 400, "invalid_request", "best_of"),
    **{
        f"picture at {url}": (
            body(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]),
            400,
            "invalid_request",
            "messages",
        )
        for url in ("http://169.254.169.254/latest", "http://localhost/", "http://2130706433/", "file:///etc/passwd")
    },
    "picture on the disk": (
        body().replace(b'"role"', rb'"\u0069mage_url": "/etc/passwd", "role"'),
        400,
        "invalid_request",
        "messages",
    ),
    "previous_response_id": (body(previous_response_id=MARKER), 400, "invalid_request", "previous_response_id"),
    "conversation": (body(conversation={"id": MARKER}), 400, "invalid_request", "conversation"),
    "background": (body(background=True), 400, "invalid_request", "background"),
}
HEADERS: dict[str, tuple[dict[str, str], int, str, str]] = {
    "text": ({"Content-Type": "text/plain"}, 415, "unsupported_media_type", "Content-Type"),
    "form": ({"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type", "Content-Type"),
    "no type": ({"Content-Type": ""}, 415, "unsupported_media_type", "Content-Type"),
    "gzip": ({"Content-Encoding": "gzip"}, 415, "unsupported_media_type", "Content-Encoding"),
    "priority": ({"X-Gateway-Priority": "urgent"}, 400, "invalid_request", "X-Gateway-Priority"),
    "priority empty": ({"X-Gateway-Priority": ""}, 400, "invalid_request", "X-Gateway-Priority"),
    "wait text": ({"X-Gateway-Max-Wait-Ms": "soon"}, 400, "invalid_request", "X-Gateway-Max-Wait-Ms"),
    "wait negative": ({"X-Gateway-Max-Wait-Ms": "-1"}, 400, "invalid_request", "X-Gateway-Max-Wait-Ms"),
    "wait infinite": ({"X-Gateway-Max-Wait-Ms": "inf"}, 400, "invalid_request", "X-Gateway-Max-Wait-Ms"),
    "deadline nan": ({"X-Gateway-Deadline-Ms": "nan"}, 400, "invalid_request", "X-Gateway-Deadline-Ms"),
    "deadline empty": ({"X-Gateway-Deadline-Ms": ""}, 400, "invalid_request", "X-Gateway-Deadline-Ms"),
    "cost text": ({"X-Gateway-Max-Cost-Usd": "$1"}, 400, "invalid_request", "X-Gateway-Max-Cost-Usd"),
}


def received(site: Site) -> int:
    return sum(site.fleet.state(server.name)["received"] for server in (*site.fleet.workers, *site.fleet.managed))


def is_contract_error(answer: httpx.Response, status: int, code: str, param: str | None) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == JSON
    assert len(answer.headers["x-request-id"]) == 32
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["code"], error["param"]) == (code, param)
    assert error["message"]
    assert error["type"] == "invalid_request_error"
    assert MARKER not in answer.text
    assert KEY not in answer.text


@pytest.fixture(autouse=True)
def _nothing_is_told_or_sent(site: Site) -> Iterator[None]:
    before = received(site)
    yield
    assert received(site) == before
    for page in (site.logged(), site.http.get("/metrics").text):
        assert MARKER not in page
        assert KEY not in page
        assert "unhandled" not in page


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize("name", BODIES)
def test_bodies(site: Site, name: str, path: str) -> None:
    raw, status, code, param = BODIES[name]
    answer = site.http.post(path, content=raw, headers={"Content-Type": JSON})
    is_contract_error(answer, status, code, param)


@pytest.mark.parametrize("name", HEADERS)
def test_headers(site: Site, name: str) -> None:
    headers, status, code, param = HEADERS[name]
    answer = site.http.post("/v1/chat/completions", content=body(), headers={"Content-Type": JSON, **headers})
    is_contract_error(answer, status, code, param)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_another_method(site: Site, path: str, method: str) -> None:
    is_contract_error(site.http.request(method, path), 405, "method_not_allowed", None)


def test_another_method_or_path_elsewhere(site: Site) -> None:
    is_contract_error(site.http.post("/v1/models", content=body()), 405, "method_not_allowed", None)
    is_contract_error(site.http.post("/v1/chat/completionz", content=body()), 404, "not_found", None)
    is_contract_error(site.http.get(f"/v1/{MARKER[:3]}"), 404, "not_found", None)


def test_a_receipt_of_bad_input_is_small_and_holds_no_text_of_it(site: Site) -> None:
    long_name = "x" * 100_000
    answer = site.http.post("/v1/chat/completions", json=chat_body(long_name))
    receipt = site.receipt(answer)
    assert (receipt["outcome"], receipt["error"]) == ("refused", "model_not_found")
    assert len(json.dumps(receipt)) <= 2048


# 100 MB


def memory_mib(site: Site, field: str = "VmHWM") -> float:
    """Peak resident memory of the gateway's process."""
    lines = Path(f"/proc/{site.gateway.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def connect(site: Site, headers: Mapping[str, str]) -> socket.socket:
    address = urlsplit(site.gateway.url)
    made = socket.create_connection((address.hostname, address.port), timeout=10)
    shown = {"Host": "gateway", "Authorization": f"Bearer {KEY}", "Content-Type": JSON, **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in shown.items())
    made.sendall(f"POST /v1/chat/completions HTTP/1.1\r\n{head}\r\n".encode())
    return made


def push(connection: socket.socket, piece: bytes) -> tuple[int, bytes]:
    """Sends pieces until an answer comes, at most HUGE bytes; what was sent and the answer."""
    sent = 0
    while sent < HUGE:
        readable, writable, _ = select.select([connection], [connection], [], 10)
        if readable:
            break
        if writable:
            sent += connection.send(piece)
    answer = b""
    while b"}}" not in answer and (more := connection.recv(1 << 16)):
        answer += more
    return sent, answer


@pytest.mark.parametrize(
    ("headers", "piece", "most"),
    [
        ({"Content-Length": str(HUGE)}, PIECE, LIMIT),
        ({"Transfer-Encoding": "chunked"}, b"%x\r\n%b\r\n" % (len(PIECE), PIECE), 4 * LIMIT),
    ],
    ids=["announced", "chunked"],
)
def test_a_body_of_100_mb_is_refused_unread(site: Site, headers: dict[str, str], piece: bytes, most: int) -> None:
    before = memory_mib(site)
    with connect(site, headers) as connection:
        sent, answer = push(connection, piece)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"request_too_large"' in answer
    assert sent < most
    assert memory_mib(site) - before < 4 * LIMIT / (1 << 20)
    site.quiet()


def test_the_sdk_is_told_that_its_body_is_too_large(site: Site) -> None:
    messages: Any = [{"role": "user", "content": "x" * (8 << 20)}]
    with site.sdk() as client, pytest.raises(openai.APIStatusError) as refused:
        client.chat.completions.create(model="chat", messages=messages)
    assert (refused.value.status_code, refused.value.code) == (413, "request_too_large")


def test_a_body_that_never_comes_is_given_up(site: Site) -> None:
    with connect(site, {"Content-Length": "1000"}) as connection:
        connection.sendall(b"{")
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"did not arrive within 1 s" in answer


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nBad Header\r\n\r\n",
    ],
    ids=["tls", "negative length", "length and chunked", "no colon"],
)
def test_what_is_not_http_gets_a_plain_400(site: Site, raw: bytes) -> None:
    address = urlsplit(site.gateway.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(raw)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 400 ")


def test_what_is_no_request_is_counted_by_its_status(site: Site) -> None:
    before = site.metric("gateway_refused_total", status="400") or 0
    address = urlsplit(site.gateway.url)
    for _ in range(2):
        with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
    assert site.metric("gateway_refused_total", status="400") == before + 2
