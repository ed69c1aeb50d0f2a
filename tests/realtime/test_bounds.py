"""What ends a session, or keeps it from beginning: size, silence, money, limits, the end of the process; and what one
that is slow costs."""

from __future__ import annotations

import http.client
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from loadtests.uploads.memory import watched
from tests.gateways import eventually
from tests.realtime.conftest import FEW_TOKENS, KEY, ONE_AT_ONCE, POOR, PRICE, Site, serve
from tests.realtime.test_sessions import ended, id_of, say, session

MIB = 1 << 20


@pytest.mark.parametrize("far", [False, True], ids=["from the client", "from the far end"])
def test_a_message_over_the_bound_ends_it(site: Site, far: bool) -> None:
    with session(site) as socket:
        if far:
            say(socket, type="say", times=1, size=5 * MIB)
        else:
            socket.send("x" * (5 * MIB))
        assert ended(socket)[1] == 1009
    eventually(lambda: site.stage.sessions[0].code, "the far end is closed")
    assert site.stage.sessions[0].code == 1009
    site.quiet()


def test_silence_ends_it(site: Site) -> None:
    with session(site) as socket:
        began = time.monotonic()
        said, code = ended(socket)
    assert 2.5 < time.monotonic() - began < 4.5
    assert (code, [one["error"]["code"] for one in said]) == (1001, ["session_expired"])
    eventually(lambda: site.stage.sessions[0].code == 1001, "the far end is closed")
    site.quiet()


def test_a_session_past_its_hard_budget_is_ended(site: Site) -> None:
    with session(site, "bought", POOR) as socket:
        say(socket, type="response.create")
        assert [json.loads(socket.recv(5))["type"] for _ in range(2)] == ["response.created", "response.done"]
        say(socket, type="spend", tokens=1_000_000)
        said, code = ended(socket)
    assert (code, [one["type"] for one in said]) == (1008, ["response.done", "error"])
    assert said[1]["error"]["code"] == "budget_exceeded"
    told = site.receipt(id_of(socket), POOR)
    assert told["cost"]["basis"] == "reserved"
    assert told["cost"]["usd"] == pytest.approx(told["quota"]["held_usd"])
    site.quiet()


@pytest.mark.parametrize("how", ["leaves", "closes", "dies"])
@pytest.mark.parametrize(("key", "basis"), [(KEY, "list"), (POOR, "reserved")])
def test_an_answer_that_is_not_waited_for_is_paid_for(site: Site, how: str, key: str, basis: str) -> None:
    with session(site, "bought", key) as socket:
        say(socket, type="begin", deltas=50)
        for _ in range(51):
            socket.recv(5)
        if how == "leaves":
            socket.socket.shutdown(2)
        elif how == "dies":
            say(socket, type="die")
            ended(socket)
    told = site.receipt(id_of(socket), key)
    assert (told["usage"]["output_tokens"], told["usage"]["estimated"]) == (100, True)
    assert told["cost"]["basis"] == basis
    if key == KEY:
        assert told["cost"]["usd"] >= 100 * PRICE["output_audio_per_1m"] / 1e6
    else:
        assert told["cost"]["usd"] == pytest.approx(told["quota"]["held_usd"])
    site.quiet()


def test_a_session_past_a_limit_of_tokens_is_ended(site: Site) -> None:
    with session(site, key=FEW_TOKENS) as socket:
        say(socket, type="spend", tokens=900)
        assert json.loads(socket.recv(5))["type"] == "response.done"
        say(socket, type="spend", tokens=101)
        said, code = ended(socket)
    assert (code, [one["type"] for one in said]) == (1008, ["response.done", "error"])
    assert said[1]["error"]["code"] == "rate_limited"
    site.quiet()


def test_a_session_is_one_of_those_at_once(site: Site) -> None:
    with session(site, key=ONE_AT_ONCE):
        given = {"Authorization": f"Bearer {ONE_AT_ONCE}"}
        with (
            pytest.raises(InvalidStatus) as refused,
            connect(f"{site.url}?model=voice", additional_headers=given, proxy=None),
        ):
            pass
        assert refused.value.response.status_code == 429
    site.quiet()
    with session(site, key=ONE_AT_ONCE):
        pass


def test_a_client_that_does_not_read_holds_the_far_end_back(site: Site) -> None:
    size = 64 * MIB
    with session(site, max_queue=1) as socket, watched(site.gateway.pid) as growth:
        say(socket, type="say", times=size // MIB, size=MIB)
        time.sleep(0.7)  # nothing is to happen
        assert growth.bytes < 24 * MIB
        assert sum(len(socket.recv(5)) for _ in range(size // MIB)) == size
    assert growth.bytes < 24 * MIB


def test_a_far_end_that_does_not_read_holds_the_client_back(site: Site) -> None:
    with session(site) as socket, watched(site.gateway.pid) as growth:
        say(socket, type="deaf", seconds=1.0, messages=64)
        began = time.monotonic()
        for _ in range(64):
            socket.send('{"x":"%s"}' % ("x" * (MIB - 8)))
        assert time.monotonic() - began > 0.8
        assert json.loads(socket.recv(10)) == {"type": "heard", "size": 64 * MIB}
    assert growth.bytes < 24 * MIB


def test_a_gateway_that_shuts_down_says_so(tmp_path: Path) -> None:
    with serve(tmp_path) as site, session(site) as socket:
        site.gateway.process.terminate()
        said, code = ended(socket)
        assert (code, [one["error"]["code"] for one in said]) == (1012, ["shutting_down"])
        assert site.gateway.process.wait(5) == 0
        assert site.stage.sessions[0].code == 1012


def test_a_session_that_opens_while_the_gateway_ends_is_told_at_once(tmp_path: Path) -> None:
    with serve(tmp_path) as site, ThreadPoolExecutor(1) as pool:
        site.stage.slow.append(0.7)

        def opened() -> tuple[list[str], int]:
            given = {"Authorization": f"Bearer {KEY}"}
            with connect(f"{site.url}?model=voice", additional_headers=given, proxy=None) as socket:
                said, code = ended(socket)
                return [one["error"]["code"] for one in said if one["type"] == "error"], code

        told = pool.submit(opened)
        eventually(lambda: site.stage.asked, "its handshake is under way")
        site.gateway.process.terminate()
        assert told.result() == (["shutting_down"], 1012)
        assert site.gateway.process.wait(5) == 0


@pytest.mark.parametrize("raw", [b"\x83\x80\0\0\0\0", b"\x81\x01x"], ids=["no such frame", "not masked"])
def test_what_is_no_frame_ends_it(site: Site, raw: bytes) -> None:
    with session(site) as socket:
        socket.socket.sendall(raw)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1002
    eventually(lambda: site.stage.sessions[0].code == 1002, "the far end is closed")
    site.quiet()


@pytest.mark.parametrize(
    "changes",
    [
        {"Sec-WebSocket-Version": "8"},
        {"Sec-WebSocket-Key": "short"},
        {"Connection": "keep-alive"},
        {"Content-Length": "3"},
        {"Transfer-Encoding": "chunked"},
    ],
)
def test_what_is_no_handshake_is_refused(site: Site, changes: dict[str, str]) -> None:
    address = urlsplit(site.gateway.url)
    headers = {
        "Authorization": f"Bearer {KEY}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        **changes,
    }
    connection = http.client.HTTPConnection(address.hostname or "", address.port)
    try:
        connection.request("GET", "/v1/realtime?model=voice", headers=headers)
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["error"]["param"]) == (400, "Upgrade")
        connection.close()
        connection.request("POST", "/v1/realtime?model=voice", headers={"Authorization": f"Bearer {KEY}"})
        assert connection.getresponse().status == 405
    finally:
        connection.close()


def test_http_1_0_knows_no_upgrade(site: Site) -> None:
    address = urlsplit(site.gateway.url)
    lines = f"GET /v1/realtime?model=voice HTTP/1.0\r\nAuthorization: Bearer {KEY}\r\nConnection: Upgrade\r\n"
    lines += "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=5) as raw:
        raw.sendall(lines.encode())
        assert b" 400 " in raw.recv(4096).partition(b"\r\n")[0]
