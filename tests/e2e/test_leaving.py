"""A replica that is told to end beside one that stays: nothing is lost, and nothing waits for what it need not."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from gateway.store.embedded import Embedded
from loadtests.simfleet.harness import SimFleet
from loadtests.stack import free_port, start_gateway
from tests.gateways import (
    KEY,
    PEPPER,
    Lane,
    Site,
    chat_body,
    eventually,
    folder_of,
    gateway_on,
    lease_count,
    start_lanes,
    write_folder,
)

CHAT = Lane("chat", cloud=False)
FILM = Lane(
    "film",
    cloud=False,
    worker={"engine": "vllm-omni"},
    sim={"engine": "vllm-omni", "unit_s": 1.0},
    model={"modality": "video"},
)
LANES = [CHAT, FILM]
LONG: dict[str, Any] = {"max_tokens": 800, "ignore_eos": True}
"""Three seconds of tokens, or more."""


@pytest.fixture
def store(own_server: Embedded) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(own_server.url, decode_responses=True) as client:
        yield client


def env_of(own_server: Embedded, **more: str) -> dict[str, str]:
    return {"GATEWAY_REDIS_URL": own_server.url, "GATEWAY_ARTEFACTS_FLOOR": "0", **more}


@contextmanager
def ready(site: Site) -> Iterator[httpx.Client]:
    """A connection that is there before the end begins."""
    with httpx.Client(base_url=site.gateway.url, headers=site.http.headers, trust_env=False, timeout=20) as client:
        assert client.get("/readyz").json() == {"status": "ready"}
        yield client


def owner(store: redis.Redis, id: str) -> str | None:
    found: Any = store.hget(f"gw:{{jobs}}:job:{id}", "owner")
    return found or None


def test_its_job_goes_to_the_other_at_once_and_its_stream_goes_on(
    tmp_path: Path, own_server: Embedded, store: redis.Redis
) -> None:
    env = env_of(own_server, GATEWAY_LEAVE_SECONDS="1", GATEWAY_ARTEFACTS=str(tmp_path / "artefacts"))
    with ExitStack() as stack:
        fleet = stack.enter_context(start_lanes(LANES))
        leaving = stack.enter_context(gateway_on([fleet], LANES, tmp_path / "leaving", env))
        id = leaving.http.post("/v1/videos", json={"model": "film", "prompt": "a cat", "seconds": "3"}).json()["id"]
        (key,) = eventually(lambda: list(store.scan_iter("gw:{jobs}:job:*")), "its record")
        record = key.rpartition(":")[2]
        before = eventually(lambda: owner(store, record), "somebody works on it")
        stays = stack.enter_context(gateway_on([fleet], LANES, tmp_path / "stays", env))
        idle = stack.enter_context(ready(leaving))
        with leaving.stream("chat", **LONG) as (_, lines):
            next(lines)
            leaving.gateway.process.terminate()
            eventually(lambda: idle.get("/readyz").status_code == 503, "it says that it leaves")
            late = leaving.http.post("/v1/chat/completions", json=chat_body("chat"))
            assert (late.status_code, late.headers["connection"]) == (200, "close")
            eventually(lambda: owner(store, record) not in (before, None), "the other one has the job", 3)
            eventually(lambda: refused(leaving.gateway.url), "its port is closed", 5)
            assert leaving.gateway.process.poll() is None, "it still has its stream"
            assert list(lines)[-1] == "[DONE]"
        assert leaving.gateway.process.wait(10) == 0
        ended = stays.http.get(f"/v1/videos/{id}", params={"wait": 19}).json()
        assert ended["status"] == "completed", ended
        orders = [one for one in fleet.requests("film-1") if one["path"].endswith("/videos")]
        assert len(orders) == 1, "it was ordered once"
        eventually(lambda: not any(lease_count(store, lane.name) for lane in LANES), "no lease is left")


def test_replacing_all_of_them_one_by_one_loses_no_job(tmp_path: Path, own_server: Embedded) -> None:
    env = env_of(own_server, GATEWAY_ARTEFACTS=str(tmp_path / "artefacts"))
    with ExitStack() as stack:
        fleet = stack.enter_context(start_lanes([FILM]))
        old = [stack.enter_context(gateway_on([fleet], [FILM], tmp_path / name, env)) for name in ("old-1", "old-2")]
        ids = []
        for number in range(4):
            asked = old[number % 2].http.post("/v1/videos", json={"model": "film", "prompt": "x", "seconds": "1"})
            ids.append(asked.json()["id"])
        assert old[0].gateway.stop() == 0
        new = stack.enter_context(gateway_on([fleet], [FILM], tmp_path / "new", env))
        assert old[1].gateway.stop() == 0
        ended = [new.http.get(f"/v1/videos/{id}", params={"wait": 19}).json()["status"] for id in ids]
        assert ended == ["completed"] * len(ids)
        orders = [one for one in fleet.requests("film-1") if one["path"].endswith("/videos")]
        assert len(orders) == len(ids), "each was ordered once"


@contextmanager
def operated_on(fleet: SimFleet, place: Path, env: dict[str, str]) -> Iterator[Site]:
    """With a port of operators' own."""
    folder, data, log = place / "policies", place / "data", place / "gateway.log"
    write_folder(folder, folder_of([CHAT], fleet))
    with start_gateway(folder, data, env={"GATEWAY_KEY_PEPPER": PEPPER, **env}, log=log) as gateway:
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=gateway.url, headers=headers, trust_env=False, timeout=20) as http:
            yield Site(gateway, fleet, folder, data, log, http)


@pytest.mark.parametrize("processes", [1, 2])
def test_operators_see_it_until_its_last_stream_has_ended(tmp_path: Path, own_server: Embedded, processes: int) -> None:
    port = free_port()
    env = env_of(own_server, GATEWAY_ADMIN_PORT=str(port), GATEWAY_WORKERS=str(processes))
    page = f"http://127.0.0.1:{port}"
    with start_lanes([CHAT]) as fleet, operated_on(fleet, tmp_path, env) as site:
        with site.stream("chat", **LONG) as (_, lines):
            next(lines)
            site.gateway.process.terminate()
            eventually(lambda: refused(site.gateway.url), "its port is closed")
            assert "gateway_requests_in_flight 1.0\n" in httpx.get(f"{page}/metrics", trust_env=False).text
            with httpx.stream("GET", f"{page}/admin/v1/live", trust_env=False) as live:
                told = live.iter_lines()
                assert next(told).startswith("event: ")
                assert list(lines)[-1] == "[DONE]"
                assert list(told)[-1] == "", "it ends in order, once nobody is served"
        assert site.gateway.process.wait(10) == 0
        assert refused(page)


def refused(url: str) -> bool:
    try:
        httpx.get(f"{url}/healthz", trust_env=False)
    except httpx.ConnectError:
        return True
    return False


@pytest.mark.parametrize("processes", [1, 2])
def test_a_second_signal_cuts_what_runs_and_still_gives_everything_back(
    tmp_path: Path, own_server: Embedded, store: redis.Redis, processes: int
) -> None:
    env = env_of(own_server, GATEWAY_GRACE_SECONDS="60", GATEWAY_WORKERS=str(processes))
    with start_lanes([CHAT]) as fleet, gateway_on([fleet], [CHAT], tmp_path / "one", env) as site:
        with site.stream("chat", max_tokens=4000, ignore_eos=True) as (_, lines):
            next(lines)
            site.gateway.process.terminate()
            eventually(lambda: refused(site.gateway.url), "the end has begun")
            eventually(lambda: hurried(site), "it ends", 10)
            assert json.loads(list(lines)[-1])["error"]["code"] == "shutting_down"
        assert site.gateway.process.wait(1) == 0
        assert lease_count(store, "chat") == 0
        assert store.hvals("gw:{receipts}:data"), "its receipt is filed"


def hurried(site: Site) -> bool:
    """A signal right after the first would count as the same one: it is sent again now and then."""
    site.gateway.process.terminate()
    try:
        site.gateway.process.wait(0.7)
    except subprocess.TimeoutExpired:
        return False
    return True
