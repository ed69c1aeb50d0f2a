"""A client that leaves or hardly reads, in every phase: the upstream stops working for it and nothing of ours is left
behind; who only reads slowly gets all."""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest

from tests.gateways import KEY, Lane, Site, chat_body, eventually

LANES = [
    Lane("slow", seats=16, cloud=False, sim={"step_ms": 100.0}),
    Lane("queue", seats=1, cloud=False, route={"max_wait": "20s"}),
    Lane("wide", seats=64, cloud=False, sim={"step_ms": 1.0, "per_seq_ms": 0.0}),
    Lane("bought", route={"backends": ["bought-api"], "spill": None}, api={"ttft_median_s": 5.0}),
]
ENV = {"GATEWAY_SEND_SECONDS": "1"}
CHOICES, TOKENS = 64, 900
"""A stream of about 10 MB: more than the kernel's buffers hold."""
SIP_BYTES, SIP_SECONDS = 1 << 16, 0.01


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(site: Site) -> Iterator[None]:
    yield
    for worker in ("slow-1", "queue-1", "wide-1"):
        site.fleet.wait(worker, lambda state: state["running"] == 0 and state["waiting"] == 0)
    site.fleet.wait("bought-api", lambda state: state["running"] == 0)
    site.quiet("slow", "queue", "wide", "bought-api")
    eventually(lambda: site.metric("gateway_upstream_leases") == 0, "the snapshot shows no lease")


class Caller:
    """A client by hand: what it sends when, and when it is gone."""

    def __init__(self, site: Site, room: int | None = None) -> None:
        """`room` is what its kernel takes for it, in bytes."""
        address = urlsplit(site.gateway.url)
        self.socket = socket.socket()
        if room is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self.socket.settimeout(10)
        self.socket.connect((address.hostname, address.port))

    def head(self, length: int) -> None:
        lines = (
            "POST /v1/chat/completions HTTP/1.1",
            "Host: gateway",
            f"Authorization: Bearer {KEY}",
            "Content-Type: application/json",
            f"Content-Length: {length}",
        )
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())

    def ask(self, model: str, **body: object) -> None:
        raw = json.dumps(chat_body(model, **body)).encode()
        self.head(len(raw))
        self.socket.sendall(raw)

    def sip(self, end: bytes) -> bytes:
        """Reads slowly up to `end`, and not beyond the piece that brings it."""
        got = bytearray()
        while end not in got[-SIP_BYTES - len(end) :]:
            piece = self.socket.recv(SIP_BYTES)
            assert piece, "the connection ended"
            got += piece
            time.sleep(SIP_SECONDS)
        return bytes(got)

    def leave(self) -> None:
        self.socket.close()


@pytest.fixture
def caller(site: Site) -> Iterator[Caller]:
    made = Caller(site)
    yield made
    made.leave()


def aborted(site: Site, name: str) -> int:
    count: int = site.fleet.state(name)["aborted"]
    return count


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_before_the_first_byte(site: Site, caller: Caller, stream: bool) -> None:
    before = aborted(site, "slow-1")
    caller.ask("slow", max_tokens=500, stream=stream)
    site.fleet.wait("slow-1", lambda state: state["running"] == 1)
    caller.leave()
    site.fleet.wait("slow-1", lambda state: state["aborted"] == before + 1 and state["running"] == 0, within=1.0)


def test_between_chunks(site: Site) -> None:
    before = aborted(site, "slow-1")
    with site.stream("slow", max_tokens=500) as (answer, lines):
        next(lines)
        next(lines)
    site.fleet.wait("slow-1", lambda state: state["aborted"] == before + 1 and state["running"] == 0, within=1.0)
    receipt = site.receipt(answer)
    assert receipt["error"] == "client_left"
    assert [attempt["result"] for attempt in receipt["attempts"]] == ["client_left"]
    assert receipt["usage"]["estimated"]


def test_a_reader_that_stands_still_and_then_leaves(site: Site, caller: Caller) -> None:
    before = aborted(site, "queue-1")
    caller.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    caller.ask("queue", max_tokens=4000, ignore_eos=True, stream=True)
    assert caller.socket.recv(100)
    site.fleet.wait("queue-1", lambda state: state["generation_tokens"] > 100)
    caller.leave()
    site.fleet.wait("queue-1", lambda state: state["aborted"] == before + 1)


@pytest.mark.parametrize("ahead", [False, True], ids=["alone", "with a request behind it"])
def test_a_slow_reader_gets_every_byte(site: Site, ahead: bool) -> None:
    caller = Caller(site, room=SIP_BYTES)
    caller.ask("wide", n=CHOICES, max_tokens=TOKENS, ignore_eos=True, stream=True)
    following = b"GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n"
    if ahead:
        caller.socket.sendall(following)
    site.fleet.wait("wide-1", lambda state: state["running"] > 0)
    eventually(lambda: caller.socket.recv(1, socket.MSG_PEEK), "it has begun")
    got = caller.sip(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert len(got) > 8 << 20
    assert got.count(b'"content":') == CHOICES * (1 + TOKENS), "each choice begins with a frame without text"
    if not ahead:
        caller.socket.sendall(following)
    rest = got.partition(b"\r\n0\r\n\r\n")[2]
    assert (rest or caller.socket.recv(1000)).startswith(b"HTTP/1.1 200"), "the connection goes on"
    receipt = site.receipt(request_id(got))
    assert receipt["error"] is None
    assert receipt["usage"]["output_tokens"] == CHOICES * TOKENS
    assert site.leases("wide") == 0
    caller.leave()


def test_who_takes_nothing_is_cut_off_and_told_apart(site: Site) -> None:
    """It is nobody's failure, and not one more client that left."""
    before = aborted(site, "wide-1")
    caller = Caller(site, room=4096)
    caller.ask("wide", n=CHOICES, max_tokens=2 * TOKENS, ignore_eos=True, stream=True)
    head = caller.socket.recv(1000)
    site.fleet.wait("wide-1", lambda state: state["aborted"] > before and state["running"] == 0, within=10.0)
    receipt = site.receipt(request_id(head))
    assert receipt["error"] == "client_stalled"
    assert [attempt["result"] for attempt in receipt["attempts"]] == ["client_stalled"]
    assert site.metric("gateway_attempts_total", upstream="wide-1", result="client_stalled") == 1
    assert site.metric("gateway_upstream_up", upstream="wide-1") == 1
    caller.leave()


def request_id(got: bytes) -> str:
    return got.partition(b"\r\nx-request-id: ")[2].partition(b"\r\n")[0].decode()


def test_while_queued(site: Site, caller: Caller) -> None:
    with site.occupied("queue"):
        received = site.fleet.state("queue-1")["received"]
        caller.ask("queue")
        eventually(lambda: site.metric("gateway_requests_in_flight") == 2, "it waits")
        caller.leave()
        eventually(lambda: site.metric("gateway_requests_in_flight") == 1, "it is gone from the queue")
        assert site.leases("queue") == 1
    assert site.fleet.state("queue-1")["received"] == received
    assert site.chat("queue").status_code == 200, "nobody stands before a newcomer"


@pytest.mark.parametrize("sent", [0, 100], ids=["head", "part"])
def test_during_the_upload(site: Site, caller: Caller, sent: int) -> None:
    received = site.fleet.state("slow-1")["received"]
    caller.head(100_000)
    caller.socket.sendall(b" " * sent)
    eventually(lambda: site.metric("gateway_requests_in_flight") == 1, "the upload has begun")
    caller.leave()
    eventually(lambda: site.metric("gateway_requests_in_flight") == 0, "it is gone")
    assert site.fleet.state("slow-1")["received"] == received


def test_while_a_bought_api_thinks(site: Site, caller: Caller) -> None:
    before = aborted(site, "bought-api")
    caller.ask("bought")
    site.fleet.wait("bought-api", lambda state: state["running"] == 1)
    caller.leave()
    site.fleet.wait("bought-api", lambda state: state["aborted"] == before + 1 and state["running"] == 0, within=1.0)


def test_a_client_that_leaves_is_nobodys_failure(site: Site) -> None:
    for _ in range(5):
        caller = Caller(site)
        caller.ask("slow", max_tokens=500)
        site.fleet.wait("slow-1", lambda state: state["running"] == 1)
        caller.leave()
        site.fleet.wait("slow-1", lambda state: state["running"] == 0)
    assert site.metric("gateway_upstream_up", upstream="slow-1") == 1
    assert site.chat("slow", max_tokens=1).status_code == 200


def test_a_crowd_that_leaves_at_any_moment(site: Site) -> None:
    rng = random.Random(11)

    def visit(patience: float) -> None:
        body = chat_body("slow", max_tokens=8, stream=rng.random() < 0.5)
        with httpx.Client(base_url=site.gateway.url, trust_env=False, timeout=patience) as client:
            try:
                client.post("/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {KEY}"})
            except httpx.TimeoutException:
                return

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(visit, [rng.uniform(0.01, 1.0) for _ in range(60)]))
    site.quiet("slow")
    assert site.chat("slow", max_tokens=1).status_code == 200
