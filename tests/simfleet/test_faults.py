"""Every fault, from the client's side."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from loadtests.simfleet.harness import SimFault, SimFleet

from .conftest import chat
from .test_worker import long


def post(fleet: SimFleet, http: httpx.Client, **more: Any) -> httpx.Response:
    worker = fleet.workers[0]
    body = chat(worker, **{"max_tokens": 3, "ignore_eos": True, **more})
    return http.post(f"{worker.url}/v1/chat/completions", json=body)


def started(fleet: SimFleet, http: httpx.Client) -> float:
    page = http.get(f"{fleet.workers[0].url}/metrics").text
    return next(f.samples[0].value for f in text_string_to_metric_families(page) if f.name.startswith("process_start"))


def test_death_resets_refuses_and_revival_is_a_new_process(fleet: SimFleet, http: httpx.Client) -> None:
    worker = fleet.workers[0]
    before, lost = started(fleet, http), fleet.state(worker.name)["outcomes"].get("lost", 0)
    with http.stream("POST", f"{worker.url}/v1/chat/completions", json=long(worker)) as answer:
        events = answer.iter_raw()
        next(events)
        fleet.config(worker.name, die=True)
        with pytest.raises(httpx.ReadError):  # a reset, not a mere end
            list(events)
    for _ in range(2):
        with pytest.raises(httpx.ConnectError):
            http.get(f"{worker.url}/health")
    state = fleet.state(worker.name)
    assert (state["alive"], state["running"], state["outcomes"]["lost"]) == (False, 0, lost + 1)
    fleet.config(worker.name, alive=True)
    assert started(fleet, http) > before
    assert fleet.state(worker.name)["generation_tokens"] == 0
    assert post(fleet, http).status_code == 200


def test_a_port_can_order_its_own_death(fleet: SimFleet, http: httpx.Client) -> None:
    worker = fleet.workers[0]
    answer = http.post(f"{worker.url}/sim/config", json={"worker": worker.name, "die": True})
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")
    with pytest.raises(httpx.ConnectError):
        http.get(f"{worker.url}/health")


def test_death_of_one_leaves_the_others_alone(fleet: SimFleet, http: httpx.Client) -> None:
    fleet.config(fleet.workers[0].name, die=True)
    other = fleet.workers[1]
    assert http.post(f"{other.url}/v1/chat/completions", json=chat(other, max_tokens=2)).status_code == 200


def test_hang_accepts_and_never_answers(fleet: SimFleet, http: httpx.Client) -> None:
    worker = fleet.workers[0]
    with http.stream("POST", f"{worker.url}/v1/chat/completions", json=long(worker)) as answer:
        events = answer.iter_raw()
        next(events)
        fleet.config(worker.name, hang=True)
        tokens = fleet.state(worker.name)["generation_tokens"]
        with pytest.raises(httpx.ReadTimeout):
            http.get(f"{worker.url}/metrics", timeout=0.1)
        with pytest.raises(httpx.ReadTimeout):
            http.get(f"{worker.url}/health", timeout=0.1)
        assert fleet.state(worker.name)["generation_tokens"] == tokens
        fleet.config(worker.name, hang=False)
        fleet.wait(worker.name, lambda state: state["generation_tokens"] > tokens + 2)
    assert post(fleet, http).status_code == 200


def test_slow_stretches_the_time_between_tokens(fleet: SimFleet, http: httpx.Client) -> None:
    def elapsed() -> float:
        began = time.monotonic()
        post(fleet, http, max_tokens=20)
        return time.monotonic() - began

    normal = min(elapsed() for _ in range(3))
    fleet.config(fleet.workers[0].name, slow=5.0)
    assert elapsed() > 3 * normal


def test_error_rate_is_a_share_and_repeatable(fleet: SimFleet, http: httpx.Client) -> None:
    fleet.config(fleet.workers[0].name, error_rate=0.5, error_status=503)
    statuses = [post(fleet, http, max_tokens=1).status_code for _ in range(40)]
    assert set(statuses) == {200, 503}
    assert 8 <= statuses.count(503) <= 32
    fleet.config(fleet.workers[0].name, error_rate=1.0, error_status=500)
    answer = post(fleet, http)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, 500)


def test_frozen_metrics_stand_still_and_thaw(fleet: SimFleet, http: httpx.Client) -> None:
    worker = fleet.workers[0]
    fleet.config(worker.name, freeze_metrics=True)
    frozen = http.get(f"{worker.url}/metrics").content
    post(fleet, http)
    assert http.get(f"{worker.url}/metrics").content == frozen
    fleet.config(worker.name, freeze_metrics=False)
    assert http.get(f"{worker.url}/metrics").content != frozen


@pytest.mark.parametrize("target", ["workers", "managed"])
def test_streams_are_cut_after_the_frames_asked_for(fleet: SimFleet, http: httpx.Client, target: str) -> None:
    server = getattr(fleet, target)[0]
    url = server.url.removesuffix("/v1") + "/v1/chat/completions"
    fleet.config(server.name, drop_mid_stream={"share": 1.0, "after_frames": 3})
    chunks: list[bytes] = []
    headers = {"authorization": "Bearer sim-managed-key"}
    with http.stream("POST", url, json=long(server), headers=headers) as answer, pytest.raises(httpx.ReadError):
        chunks.extend(answer.iter_raw())
    received = b"".join(chunks)
    assert received.count(b"data: ") == 4  # the role and three content frames
    assert b"[DONE]" not in received
    assert fleet.requests(server.name)[-1]["outcome"] == "dropped"
    fleet.wait(server.name, lambda state: state["running"] == 0)


def test_a_whole_answer_is_cut_before_its_body(fleet: SimFleet, http: httpx.Client) -> None:
    fleet.config(fleet.workers[0].name, drop_mid_stream=1.0)
    with pytest.raises(httpx.TransportError):
        post(fleet, http)


def test_a_cold_start_says_503_and_lets_requests_wait(fleet: SimFleet, http: httpx.Client) -> None:
    worker = fleet.workers[0]
    fleet.config(worker.name, cold_start=0.4)
    began = time.monotonic()
    assert http.get(f"{worker.url}/health").status_code == 503
    assert post(fleet, http).status_code == 200
    assert time.monotonic() - began > 0.3
    assert http.get(f"{worker.url}/health").status_code == 200


def test_an_xid_error_shows_on_the_right_gpu(fleet: SimFleet, http: httpx.Client) -> None:
    fleet.config(fleet.workers[1].name, xid=79)
    page = http.get(fleet.dcgm[0].url).text
    found = {f.name: f.samples for f in text_string_to_metric_families(page)}["DCGM_FI_DEV_XID_ERRORS"]
    assert {sample.labels["gpu"]: sample.value for sample in found} == {"0": 0, "1": 79}


def test_a_fault_for_all_workers_and_unknown_names(fleet: SimFleet) -> None:
    fleet.config(None, slow=2.0)
    with pytest.raises(SimFault, match="worker: one of"):
        fleet.config("nobody", slow=2.0)
    with pytest.raises(SimFault, match="sloow"):
        fleet.config(None, sloow=2.0)
