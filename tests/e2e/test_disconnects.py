"""A client that leaves, in every phase: the upstream stops working for it and nothing of ours is left behind."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest

from tests.gateways import KEY, Lane, Site, chat_body, eventually

LANES = [
    Lane("slow", seats=16, cloud=False, sim={"step_ms": 100.0}),
    Lane("queue", seats=1, cloud=False, route={"max_wait": "20s"}),
    Lane("bought", route={"backends": ["bought-api"], "spill": None}, api={"ttft_median_s": 5.0}),
]


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(site: Site) -> Iterator[None]:
    yield
    for worker in ("slow-1", "queue-1"):
        site.fleet.wait(worker, lambda state: state["running"] == 0 and state["waiting"] == 0)
    site.fleet.wait("bought-api", lambda state: state["running"] == 0)
    site.quiet("slow", "queue", "bought-api")
    eventually(lambda: site.metric("gateway_upstream_leases") == 0, "the snapshot shows no lease")


class Caller:
    """A client by hand: what it sends when, and when it is gone."""

    def __init__(self, site: Site) -> None:
        address = urlsplit(site.gateway.url)
        self.socket = socket.create_connection((address.hostname, address.port), timeout=10)

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
