"""Which models a worker serves: several names, adapters, sleep, and a change at run time; and a page of real size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from loadtests.simfleet.harness import Server, SimFleet, start

from .conftest import FAST, chat

KB = 1024


@pytest.fixture(scope="module")
def served() -> Iterator[SimFleet]:
    one = {"model": "base", "models": ["alias"], "adapters": ["sql"], "page_kb": 60}
    with start(**{**FAST, "managed": 0, "workers": [one, {"engine": "sglang", "model": "base"}]}) as fleet:
        yield fleet
        fleet.config(None, clear=True)


def cards(http: httpx.Client, server: Server) -> dict[str, Any]:
    return {card["id"]: card["parent"] for card in http.get(f"{server.url}/v1/models").json()["data"]}


def answered(http: httpx.Client, server: Server, model: str) -> tuple[int, str | None]:
    answer = http.post(f"{server.url}/v1/chat/completions", json=chat(server, max_tokens=1) | {"model": model})
    return answer.status_code, answer.json().get("model")


def labels(http: httpx.Client, server: Server, name: str) -> list[dict[str, str]]:
    families = text_string_to_metric_families(http.get(f"{server.url}/metrics").text)
    return [dict(sample.labels) for family in families for sample in family.samples if sample.name == name]


def test_names_and_adapters_are_told_and_served(served: SimFleet, http: httpx.Client) -> None:
    worker = served.workers[0]
    assert cards(http, worker) == {"base": None, "alias": None, "sql": "base"}
    assert [answered(http, worker, name) for name in ("base", "alias", "sql")] == [
        (200, "base"),
        (200, "alias"),
        (200, "sql"),
    ]
    assert answered(http, worker, "other")[0] == 404
    (lora,) = labels(http, worker, "vllm:lora_requests_info")
    assert (lora["running_lora_adapters"], lora["max_lora"]) == ("sql", "4")


def test_adapters_come_and_go_as_with_vllm(served: SimFleet, http: httpx.Client) -> None:
    worker = served.workers[0]
    http.post(f"{worker.url}/v1/load_lora_adapter", json={"lora_name": "tax", "lora_path": "/x"}).raise_for_status()
    assert cards(http, worker)["tax"] == "base"
    http.post(f"{worker.url}/v1/unload_lora_adapter", json={"lora_name": "tax"}).raise_for_status()
    assert "tax" not in cards(http, worker)
    assert http.post(f"{worker.url}/v1/load_lora_adapter", json={}).status_code == 400


def test_another_model_at_run_time(served: SimFleet, http: httpx.Client) -> None:
    worker = served.workers[0]
    served.config(worker.name, models=["next"], adapters=[])
    assert cards(http, worker) == {"next": None}
    assert (answered(http, worker, "next"), answered(http, worker, "base")[0]) == ((200, "next"), 404)
    assert labels(http, worker, "vllm:num_requests_running") == [{"engine": "0", "model_name": "next"}]
    served.config(worker.name, clear=True)
    assert "base" in cards(http, worker)


def test_a_sleeping_vllm_is_healthy_and_lets_requests_wait(served: SimFleet, http: httpx.Client) -> None:
    worker = served.workers[0]
    assert http.post(f"{worker.url}/sleep?level=1").status_code == 200
    assert http.get(f"{worker.url}/health").status_code == 200
    assert http.get(f"{worker.url}/is_sleeping").json() == {"is_sleeping": True}
    with pytest.raises(httpx.ReadTimeout):
        http.post(f"{worker.url}/v1/chat/completions", json=chat(worker), timeout=0.1)
    families = text_string_to_metric_families(http.get(f"{worker.url}/metrics").text)
    (state,) = [family for family in families if family.name == "vllm:engine_sleep_state"]
    assert {s.labels["sleep_state"]: s.value for s in state.samples} == {
        "awake": 0,
        "weights_offloaded": 1,
        "discard_all": 0,
    }
    http.post(f"{worker.url}/wake_up")
    assert answered(http, worker, "base")[0] == 200


def test_sglang_gives_its_memory_back(served: SimFleet, http: httpx.Client) -> None:
    worker = served.workers[1]
    http.post(f"{worker.url}/release_memory_occupation", json={}).raise_for_status()
    with pytest.raises(httpx.ReadTimeout):
        http.post(f"{worker.url}/v1/chat/completions", json=chat(worker), timeout=0.1)
    http.post(f"{worker.url}/resume_memory_occupation", json={}).raise_for_status()
    assert answered(http, worker, "base")[0] == 200


def test_a_page_of_the_size_of_a_busy_servers(served: SimFleet, http: httpx.Client) -> None:
    page = http.get(f"{served.workers[0].url}/metrics")
    assert 55 * KB < len(page.content) < 65 * KB
    assert page.text.index("vllm:num_requests_running") > 10 * KB
    assert sum(1 for _ in text_string_to_metric_families(page.text)) > 20
