"""What the end of the grace cuts off: whoever waits is told so, as an error of ours, and nobody pays for nothing."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from gateway.store.embedded import Embedded
from tests.gateways import KEY, LOCAL, Lane, Site, chat_body, eventually, gateway_on, lease_count, start_lanes

NEVER = 30_000.0
"""Milliseconds to a first token: not within a test."""
OPEN = Lane("open", cloud=False)
FULL = Lane("full", seats=1, cloud=False)
MUTE = Lane("mute", workers=2, cloud=False, sim={"step_ms": NEVER}, route={"hedge": {"after": "50ms", "budget": 0.9}})
BOUGHT = Lane("bought", api={"ttft_median_s": NEVER / 1e3, "ttft_sigma": 0.0}, route={"backends": ["bought-api"]})
FILM = Lane(
    "film",
    cloud=False,
    worker={"engine": "vllm-omni"},
    sim={"engine": "vllm-omni", "unit_s": 5.0},
    model={"modality": "video"},
)
LANES = [OPEN, FULL, MUTE, BOUGHT, FILM]
LONG: dict[str, Any] = {"max_tokens": 4000, "ignore_eos": True}
GRACE = {"GATEWAY_GRACE_SECONDS": "0.6"}
HALF = 200_000
"""Bytes of a body of which no more comes."""
FORM = (
    "multipart/form-data; boundary=b",
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n',
)


@pytest.fixture
def env(own_server: Embedded, tmp_path: Path) -> dict[str, str]:
    shared = {"GATEWAY_ARTEFACTS": str(tmp_path / "artefacts"), "GATEWAY_ARTEFACTS_FLOOR": "0"}
    return {"GATEWAY_REDIS_URL": own_server.url, **shared, **GRACE}


@contextmanager
def half_sent(site: Site, path: str, kind: str, begun: bytes = b"") -> Iterator[socket.socket]:
    """A request whose body stands still in its middle; `begun` is how it begins."""
    url = httpx.URL(site.gateway.url)
    head = f"POST {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {KEY}\r\ncontent-type: {kind}\r\n"
    with socket.create_connection((url.host, url.port), timeout=10) as sock:
        sock.sendall(f"{head}content-length: {3 * HALF}\r\n\r\n".encode() + begun + b" " * HALF)
        yield sock


def answer_on(sock: socket.socket) -> tuple[HTTPResponse, dict[str, Any]]:
    """The client goes on sending until it has read the answer."""
    sock.sendall(b" " * (HALF // 2))
    answer = HTTPResponse(sock)
    answer.begin()
    return answer, json.loads(answer.read())


def ask(site: Site, model: str, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
    with httpx.Client(base_url=site.gateway.url, headers=site.http.headers, trust_env=False, timeout=20) as client:
        return client.post("/v1/chat/completions", json=chat_body(model, **more), headers=headers)


def test_whoever_has_nothing_yet_is_told_503_and_a_stream_its_own_error(
    tmp_path: Path, env: dict[str, str], own_server: Embedded
) -> None:
    with ExitStack() as stack:
        fleet = stack.enter_context(start_lanes(LANES))
        site = stack.enter_context(gateway_on([fleet], LANES, tmp_path / "leaving", env))
        pool = stack.enter_context(ThreadPoolExecutor(8))
        _, lines = stack.enter_context(site.stream("full", **LONG))
        next(lines)
        asked: dict[str, Future[httpx.Response]] = {
            "answering": pool.submit(ask, site, "open", **LONG),
            "waiting": pool.submit(ask, site, "full", LOCAL),
            "mute": pool.submit(ask, site, "mute", stream=True),
            "hedged": pool.submit(ask, site, "mute", stream=True),
            "bought": pool.submit(ask, site, "bought"),
        }
        halves = {
            "body": stack.enter_context(half_sent(site, "/v1/chat/completions", "application/json")),
            "form": stack.enter_context(half_sent(site, "/v1/audio/transcriptions", *FORM)),
        }
        eventually(lambda: site.metric("gateway_requests_in_flight") == len(asked) + 3, "all are in")
        eventually(lambda: len(fleet.requests("mute-1")) + len(fleet.requests("mute-2")) >= 3, "one is hedged")
        eventually(lambda: fleet.requests("bought-api"), "it is bought")
        site.gateway.process.terminate()
        answers = {name: one.result() for name, one in asked.items()}
        for name, answer in answers.items():
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "shutting_down"), (name, answer.text)
            again = None if name == "bought" else "1"
            assert (answer.headers.get("retry-after"), answer.headers["connection"]) == (again, "close"), name
            assert answer.headers.get("x-should-retry") == ("false" if name == "bought" else None), name
        ids = {name: answer.headers["x-request-id"] for name, answer in answers.items()}
        for name, half in halves.items():
            upload, told = answer_on(half)
            assert (upload.status, upload.headers["retry-after"], told["error"]["code"]) == (503, "1", "shutting_down")
            ids[name] = upload.headers["x-request-id"]
        assert json.loads(list(lines)[-1])["error"]["code"] == "shutting_down"
        assert site.gateway.process.wait(5) == 0
        assert "Traceback" not in site.logged()
        with redis.Redis.from_url(own_server.url, decode_responses=True) as store:
            assert not any(lease_count(store, lane.name) for lane in LANES)
        later = stack.enter_context(gateway_on([fleet], [OPEN], tmp_path / "later", env))
        receipts = {name: later.receipt(id) for name, id in ids.items()}
    waiting = ("waiting", *halves)
    for name, receipt in receipts.items():
        outcome = "refused" if name in waiting else "failed"
        assert (receipt["outcome"], receipt["error"]) == (outcome, "shutting_down"), name
        assert (receipt["usage"], receipt["cost"]) == (None, None), name
        results = {one["result"] for one in receipt["attempts"]}
        assert results == (set() if name in waiting else {"cancelled"}), name
    assert receipts["waiting"]["times"]["queue_ms"] > 0


def test_whoever_waits_for_a_job_is_told_how_it_is(tmp_path: Path, env: dict[str, str]) -> None:
    with ExitStack() as stack:
        fleet = stack.enter_context(start_lanes([FILM]))
        site = stack.enter_context(gateway_on([fleet], [FILM], tmp_path / "leaving", env))
        pool = stack.enter_context(ThreadPoolExecutor(2))

        def film() -> httpx.Response:
            film = {"model": "film", "prompt": "a cat", "seconds": "5"}
            return httpx.post(
                f"{site.gateway.url}/v1/videos?wait=19",
                json=film,
                headers=site.http.headers,
                timeout=20,
                trust_env=False,
            )

        waits = pool.submit(film)
        eventually(lambda: any(one["path"].endswith("/videos") for one in fleet.requests("film-1")), "it is made")
        site.gateway.process.terminate()
        told = waits.result()
        assert told.status_code == 200, told.text
        assert told.json()["status"] in ("queued", "in_progress")
        assert site.gateway.process.wait(5) == 0
