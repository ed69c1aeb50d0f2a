"""Every text engine's surface over real HTTP: its load, its health, its model cards, its errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from loadtests.simfleet.harness import Server, SimFleet, start
from loadtests.simfleet.surfaces import TEXT

from .conftest import FAST, chat

SEATS = 4
OLDER = ("sglang", "trtllm", "llamacpp")
WORKERS: list[dict[str, Any]] = [
    *({"engine": engine, "name": engine, "tp": 2, "max_queued": 1} for engine in TEXT),
    *({"engine": engine, "name": f"{engine}-older", "older": True} for engine in OLDER),
]
LOAD = {
    "vllm": ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"),
    "vllm-v0": ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:gpu_cache_usage_perc"),
    "sglang": ("sglang:num_running_reqs", "sglang:num_queue_reqs", "sglang:token_usage"),
    "sglang-older": ("sglang:num_running_reqs", "sglang:num_queue_reqs", "sglang:token_usage"),
    "triton": (
        'nv_trt_llm_request_metrics{request_type="scheduled"}',
        'nv_trt_llm_request_metrics{request_type="waiting"}',
        'nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction"}',
    ),
    "tgi": ("tgi_batch_current_size", "tgi_queue_size", None),
    "llamacpp": ("llamacpp:requests_processing", "llamacpp:requests_deferred", None),
    "llamacpp-older": ("llamacpp:requests_processing", "llamacpp:requests_deferred", "llamacpp:kv_cache_usage_ratio"),
    "nim": ("num_requests_running", "num_requests_waiting", "gpu_cache_usage_perc"),
    "nim2": ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"),
}
"""Running, waiting and the use of the KV cache, as the engine's page names them."""
FULL = {
    "vllm": (503, {"error": {"message", "type", "param", "code"}}),
    "vllm-v0": (503, {"error": {"message", "type", "param", "code"}}),
    "sglang": (503, {"object", "message", "type", "param", "code"}),
    "trtllm": (503, {"object", "message", "type", "param", "code"}),
    "triton": (503, {"detail"}),
    "tgi": (429, {"error", "error_type"}),
    "llamacpp": (503, {"error": {"message", "type", "code"}}),
    "nim": (503, {"error": {"message", "type", "param", "code"}}),
    "nim2": (503, {"error": {"message", "type", "param", "code"}}),
}


@pytest.fixture(scope="module")
def engines() -> Iterator[SimFleet]:
    with start(**{**FAST, "managed": 0, "workers": WORKERS}) as fleet:
        yield fleet


@pytest.fixture
def servers(engines: SimFleet) -> dict[str, Server]:
    return {worker.name: worker for worker in engines.workers}


def fill(http: httpx.Client, fleet: SimFleet, server: Server) -> list[httpx.Response]:
    """All seats, and one that waits."""
    body = chat(server, stream=True, max_tokens=3000, ignore_eos=True)
    made = [http.build_request("POST", f"{server.url}/v1/chat/completions", json=body) for _ in range(SEATS + 1)]
    answers = [http.send(request, stream=True) for request in made]
    fleet.wait(server.name, lambda state: (state["running"], state["waiting"]) == (SEATS, 1))
    return answers


def values(http: httpx.Client, server: Server, wanted: str) -> list[float]:
    """All samples of a name, `{label="value"}` behind it where only some are meant."""
    name, _, label = wanted.rstrip("}").partition("{")
    key, _, value = label.replace('"', "").partition("=")
    families = list(text_string_to_metric_families(http.get(server.metrics).text))
    assert families
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return [sample.value for sample in samples if not key or sample.labels[key] == value]


def shape(body: Any) -> Any:
    inner = body.get("error") if isinstance(body, dict) else None
    return {"error": set(inner)} if isinstance(inner, dict) else set(body)


@pytest.mark.parametrize("name", LOAD)
def test_load_is_on_the_page_under_the_engines_names(
    engines: SimFleet, servers: dict[str, Server], http: httpx.Client, name: str
) -> None:
    server = servers[name]
    running, waiting, kv = LOAD[name]
    answers = fill(http, engines, server)
    ranks = 2 if name == "sglang" else 1
    engines.wait(name, lambda _: values(http, server, running) == [SEATS] * ranks)
    engines.wait(name, lambda _: values(http, server, waiting) == [1] * ranks)
    if kv is not None:
        assert all(0 < value < 1 for value in values(http, server, kv))
    for answer in answers:
        answer.close()


def test_trtllms_records_are_drained_by_the_read(
    engines: SimFleet, servers: dict[str, Server], http: httpx.Client
) -> None:
    server = servers["trtllm"]
    assert http.get(server.metrics).json() == []
    http.post(f"{server.url}/v1/chat/completions", json=chat(server, max_tokens=2))
    (record,) = http.get(server.metrics).json()
    assert (record["maxNumActiveRequests"], record["kvCacheStats"]["tokensPerBlock"]) == (SEATS, 16)
    assert http.get(server.metrics).json() == []
    page = http.get(f"{server.url}/prometheus/metrics").text
    assert "trtllm_num_requests_running{" in page
    older = http.get(f"{servers['trtllm-older'].url}/prometheus/metrics").text
    assert len(list(text_string_to_metric_families(older))) == 5


@pytest.mark.parametrize("engine", FULL)
def test_a_full_queue_is_refused_as_the_engine_does_it(
    engines: SimFleet, servers: dict[str, Server], http: httpx.Client, engine: str
) -> None:
    server = servers[engine]
    answers = fill(http, engines, server)
    refused = http.post(f"{server.url}/v1/chat/completions", json=chat(server))
    assert (refused.status_code, shape(refused.json())) == FULL[engine]
    assert "retry-after" not in refused.headers
    for answer in answers:
        answer.close()


@pytest.mark.parametrize(
    ("engine", "path", "key"),
    [
        ("vllm", "/version", "version"),
        ("vllm", "/is_sleeping", "is_sleeping"),
        ("vllm-v0", "/version", "version"),
        ("sglang", "/server_info", "max_total_num_tokens"),
        ("sglang", "/model_info", "model_path"),
        ("sglang", "/v1/loads", "loads"),
        ("sglang-older", "/get_server_info", "version"),
        ("trtllm", "/version", "version"),
        ("triton", "/v2", "version"),
        ("tgi", "/info", "model_id"),
        ("llamacpp", "/props", "total_slots"),
        ("llamacpp", "/health", "status"),
        ("nim", "/v1/version", "release"),
        ("nim", "/v1/health/ready", "message"),
        ("nim2", "/v1/metadata", "modelInfo"),
    ],
)
def test_pages_that_tell_the_engine(
    servers: dict[str, Server], http: httpx.Client, engine: str, path: str, key: str
) -> None:
    assert key in http.get(servers[engine].url + path).json()


@pytest.mark.parametrize(
    ("engine", "path"),
    [("triton", "/metrics"), ("nim", "/metrics"), ("sglang", "/version"), ("sglang-older", "/model_info")],
)
def test_pages_that_the_engine_does_not_have(
    servers: dict[str, Server], http: httpx.Client, engine: str, path: str
) -> None:
    assert http.get(servers[engine].url + path).status_code == 404


HEALTH = {"triton": "/v2/health/ready", "nim": "/v1/health/ready", "nim2": "/v1/health/ready"}


@pytest.mark.parametrize("engine", TEXT)
def test_health_says_when_the_model_is_loading(
    engines: SimFleet, servers: dict[str, Server], http: httpx.Client, engine: str
) -> None:
    url = servers[engine].url + HEALTH.get(engine, "/health")
    assert http.get(url).status_code == 200
    engines.config(engine, loading=True)
    assert http.get(url).status_code == (400 if engine == "triton" else 503)
    engines.config(engine, loading=False)
    assert http.get(url).status_code == 200


def test_llamacpp_counts_its_slots(engines: SimFleet, servers: dict[str, Server], http: httpx.Client) -> None:
    server = servers["llamacpp"]
    answers = fill(http, engines, server)
    assert [slot["is_processing"] for slot in http.get(f"{server.url}/slots").json()] == [True] * SEATS
    assert http.get(f"{server.url}/slots?fail_on_no_slot=1").status_code == 503
    for answer in answers:
        answer.close()


def test_triton_is_dead_on_both_ports(engines: SimFleet, servers: dict[str, Server], http: httpx.Client) -> None:
    server = servers["triton"]
    engines.config("triton", die=True)
    for url in (server.metrics, f"{server.url}/v2/health/live"):
        with pytest.raises(httpx.ConnectError):
            http.get(url)
    engines.config("triton", alive=True)
    for url in (server.metrics, f"{server.url}/v2/health/live"):
        assert http.get(url).status_code == 200


def test_llamacpp_is_told_by_what_is_its_own(engines: SimFleet, servers: dict[str, Server], http: httpx.Client) -> None:
    """As a real one behaves: docs/llamacpp.md."""
    server = servers["llamacpp"]
    assert http.get(f"{server.url}/health").headers.get_list("server") == ["llama.cpp"]
    answer = http.post(f"{server.url}/v1/chat/completions", json=chat(server, max_tokens=1) | {"model": "any"})
    assert answer.json()["model"] == server.model
    refused = http.post(f"{server.url}/v1/messages", content=b"{").json()
    assert (refused["error"]["type"], "type" in refused) == ("invalid_request_error", False)
    engines.config("llamacpp", loading=True)
    assert http.post(f"{server.url}/v1/chat/completions", json=chat(server)).status_code == 503
    engines.config("llamacpp", loading=False)


@pytest.mark.parametrize(("engine", "ends"), [("vllm", "aborted"), ("llamacpp", "finished")])
def test_a_plain_answer_whose_client_leaves(
    engines: SimFleet, servers: dict[str, Server], http: httpx.Client, engine: str, ends: str
) -> None:
    server = servers[engine]
    body = chat(server, max_tokens=60, ignore_eos=True)
    with pytest.raises(httpx.ReadTimeout):
        http.post(f"{server.url}/v1/chat/completions", json=body, timeout=0.1)
    engines.wait(engine, lambda state: state["running"] == 0)
    assert engines.requests(engine)[-1]["outcome"] == ends
