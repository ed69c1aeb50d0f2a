"""Every engine's simulated server over HTTP: found by asking, read, and heard in our words, through a whole gateway."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import openai
import pytest

from gateway.upstreams.client import Client
from gateway.upstreams.workers import Workers
from loadtests.simfleet.harness import start
from tests import worlds
from tests.gateways import Lane, Site, eventually

ENGINES = {
    "vllm": "vllm",
    "vllm-v0": "vllm",
    "sglang": "sglang",
    "trtllm": "trtllm",
    "triton": "triton",
    "tgi": "tgi",
    "llamacpp": "llamacpp",
    "nim": "nim",
    "nim2": "nim",
}
"""The simulator's name -> ours. Each is a lane of its own, called like the simulator's."""
KV = frozenset(ENGINES) - {"tgi", "llamacpp"}
ANY_NAME = frozenset({"trtllm", "tgi", "llamacpp"})
SEATS = 8
RENAMED = [
    Lane(
        f"{name}-renamed",
        cloud=False,
        worker={"engine": "auto"},
        sim={"engine": name, "gauge_lag_s": 0.0},
        model={"served_by": [{"backend": f"{name}-renamed", "as": "a-name-it-does-not-list"}]},
    )
    for name in sorted(ANY_NAME)
]
MEDIA = ("vllm-omni", "sglang-diffusion", "comfyui")
LANES = [
    Lane(name, seats=SEATS, cloud=False, worker={"engine": "auto"}, sim={"engine": name, "gauge_lag_s": 0.0})
    for name in ENGINES
] + RENAMED
WITHOUT_ANSWER: Any = [{"role": "user", "content": "hello"}]


def told(site: Site, name: str) -> dict[str, Any]:
    rows = site.http.get("/readyz?detail=1").json()["upstreams"]
    return next(row for row in rows if row["upstream"] == f"{name}-1")


def reading(site: Site, name: str) -> dict[str, Any] | None:
    row = told(site, name)
    return row if row.get("running") is not None else None


@pytest.mark.parametrize("name", ENGINES)
def test_it_is_found_and_read(site: Site, name: str) -> None:
    found = eventually(lambda: reading(site, name), f"a reading of {name}")
    assert (found["engine"], found["out"], found["missing"]) == (ENGINES[name], None, [])
    assert (found["running"], found["waiting"]) == (0, 0)
    assert found["models"] == (None if name in ANY_NAME else [site.fleet.workers[0].model])
    assert (found["kv"] is not None) is (name in KV)


@pytest.mark.parametrize("lane", RENAMED, ids=lambda lane: lane.name)
def test_who_answers_to_any_name_is_asked_by_one_that_it_does_not_list(site: Site, lane: Lane) -> None:
    eventually(lambda: reading(site, lane.name), f"a reading of {lane.name}")
    assert site.chat(lane.name).status_code == 200


@pytest.mark.parametrize("name", ENGINES)
def test_its_load_is_seen(site: Site, name: str) -> None:
    with site.occupied(name, streams=2):
        eventually(lambda: told(site, name).get("running") == 2, f"two requests on {name}")


@pytest.mark.parametrize("name", ENGINES)
def test_the_official_sdk_shows_its_refusal(site: Site, name: str) -> None:
    with site.sdk() as client, pytest.raises(openai.APIStatusError) as refused:
        client.chat.completions.create(model=name, messages=WITHOUT_ANSWER, max_tokens=1_000_000)
    assert refused.value.status_code in (400, 422)
    assert isinstance(refused.value.body, dict)
    assert refused.value.body["message"]


def test_readiness_tells_no_more_than_before_to_whoever_does_not_ask(site: Site) -> None:
    assert site.http.get("/readyz").json() == {"status": "ready"}
    assert site.http.get("/health?detail=1").json() == {"status": "ready"}, "as engines have it"
    assert site.http.get("/readyz?detail=1", headers={"X-Forwarded-For": "10.0.0.1"}).json() == {"status": "ready"}


def test_a_metric_that_is_gone_is_unknown_and_named(site: Site) -> None:
    site.fleet.config("sglang-1", metrics={"remove": ["sglang:num_queue_reqs"]})
    try:
        row = eventually(lambda: row if (row := told(site, "sglang"))["missing"] else None, "what is missing")
        assert (row["missing"], row["waiting"], row["out"]) == (["sglang:num_queue_reqs"], None, None)
        line = '"event": "metrics missing: unknown, not zero", "upstream": "sglang-1"'
        assert site.log.read_text().count(line) == 1
    finally:
        site.fleet.config("sglang-1", clear=True)


async def test_servers_of_images_and_video_are_found_and_read() -> None:
    """They have no text endpoint that a request could come through."""
    client = Client()
    workers = Workers(client)
    with start(workers=[{"name": name, "engine": name} for name in MEDIA]) as fleet:
        for server in fleet.workers:
            asked = worlds.upstream(
                server.name, "gpu", url=server.url, engine="auto", networks=(ip_network("127.0.0.0/8"),)
            )
            found = await workers.look(asked)
            assert (found.engine, found.running, found.waiting, found.missing) == (server.name, 0, 0, ())
            assert found.version is not None or server.name == "sglang-diffusion"
    await client.aclose()
