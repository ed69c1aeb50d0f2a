"""Promises that an attacker, or an unlucky moment, could wear away: each test is a way that once worked."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import pytest
import redis
import yaml

from tests.commands import ran
from tests.gateways import KEY, LOCAL, Lane, Site, chat_body, eventually

LANES = [
    Lane("slow", seats=4, route={"timeouts": {"total": "1s"}, "spill": None}),
    Lane("held", seats=8),
    Lane("single", seats=1, cloud=False, flagged={"max_wait": 0}, route={"max_wait": 0}),
    Lane("spent", seats=1, route={"spill": {"backends": ["spent-api"], "budget_usd_per_hour": 5}}),
]


def connect(site: Site) -> socket.socket:
    host, port = site.gateway.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def head(body: bytes) -> bytes:
    lines = (
        b"POST /v1/chat/completions HTTP/1.1",
        b"Host: x",
        b"Content-Type: application/json",
        b"Authorization: Bearer " + KEY.encode(),
    )
    return b"\r\n".join((*lines, b"Content-Length: %d" % len(body), b"", b""))


def test_a_client_that_does_not_read_cannot_keep_its_lease(site: Site) -> None:
    """It asks for megabytes and reads nothing: buffers fill, and the request's total time ends it all the same."""
    body = json.dumps(chat_body("slow", stream=True, max_tokens=4000, ignore_eos=True, user="x" * 8000)).encode()
    socks = []
    for _ in range(2):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, port = site.gateway.url.removeprefix("http://").split(":")
        sock.connect((host, int(port)))
        sock.sendall(head(body) + body)
        socks.append(sock)
    eventually(lambda: site.leases("slow") == 2, "both have leases")
    eventually(lambda: site.leases("slow") == 0, "both are free again", within=6)
    for sock in socks:
        sock.close()


def test_a_body_that_arrives_slowly_is_judged_by_the_policy_that_decides(site: Site) -> None:
    """While the body is held open, the tenant is bound to stay local: the request must not leave."""
    body = json.dumps(chat_body("held", max_tokens=4)).encode()
    tenants = site.folder / "tenants.yaml"
    before = tenants.read_text()
    with connect(site) as sock:
        sock.sendall(head(body) + body[:10])
        changed = yaml.safe_load(before)
        for tenant in changed["tenants"]:
            tenant["residency"] = "us"
        tenants.write_text(yaml.safe_dump(changed))
        eventually(lambda: site.chat("held").status_code == 403, "the new policy is in force")
        sock.sendall(body[10:])
        answer = sock.recv(65536)
    tenants.write_text(before)
    eventually(lambda: site.chat("held").status_code == 200, "the old policy is in force")
    assert answer.startswith(b"HTTP/1.1 403")


def test_keys_that_vanish_from_the_folder_open_nothing(site: Site) -> None:
    tenants = site.folder / "tenants.yaml"
    before = tenants.read_text()
    tenants.unlink()
    eventually(lambda: site.metric("gateway_policy_fault") == 1, "the fault is seen")
    assert site.http.get("/v1/models", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert site.chat("held").status_code == 200
    tenants.write_text(before)
    eventually(lambda: site.metric("gateway_policy_fault") == 0, "the fault is gone")


def test_a_client_that_hangs_up_early_gives_no_money_back(site: Site) -> None:
    with site.occupied("spent"), site.stream("spent", max_tokens=2000, ignore_eos=True) as (answer, lines):
        next(lines)
        reserved = booked(site)
        assert answer.headers["x-gateway-outcome"] == "spilled"
    site.quiet("spent", "spent-api")
    assert booked(site) == reserved > 0


def booked(site: Site) -> int:
    with redis.Redis(unix_socket_path=str(site.data / "store.sock")) as client:
        values = client.hvals("gw:budget:{spent}")
        return sum(int(value) for value in values)  # type: ignore[union-attr]


def test_refusals_before_the_decision_have_receipts_too(site: Site) -> None:
    refused = site.chat("held", {"X-Data-Residency": "mars"})
    assert refused.status_code == 400
    told = site.receipt(refused)
    assert (told["outcome"], told["error"]) == ("refused", "residency_unknown")
    assert site.chat("held", LOCAL).status_code == 200


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"GATEWAY_PORT": "abc"}, "GATEWAY_PORT"),
        ({"GATEWAY_REDIS_URL": "redis://127.0.0.1:1"}, "store"),
        ({"GATEWAY_POLICIES": "/nowhere"}, "no policy folder"),
    ],
)
def test_a_gateway_that_cannot_start_says_why_in_one_line(tmp_path: Path, env: dict[str, str], said: str) -> None:
    base = {"GATEWAY_POLICIES": "policies/demo", "GATEWAY_DATA_DIR": str(tmp_path), "GATEWAY_PORT": "0"}
    began = time.monotonic()
    run = ran("serve", env={**os.environ, **base, **env})
    assert run.returncode == 2, run.stderr
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith("gateway: ")
    assert said in last
    assert "Traceback" not in run.stderr
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_has_its_answer_finds_its_place_free(site: Site, stream: bool) -> None:
    """One seat, no wait, one request after the other: each answer's lease is back before its client can ask again."""
    for _ in range(30):
        answer = site.chat("single", stream=stream)
        assert answer.status_code == 200, answer.text
