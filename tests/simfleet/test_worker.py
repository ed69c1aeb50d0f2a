"""A worker's HTTP surface, with the official SDK and with plain HTTP."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from loadtests.simfleet.harness import Server, SimFleet, start

from .conftest import FAST, Sdk, chat

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
EXACT: dict[str, Any] = {"ignore_eos": True}


def test_plain_chat(fleet: SimFleet, sdk: Sdk) -> None:
    worker = fleet.workers[0]
    answer = sdk(worker).chat.completions.create(
        **chat(worker), max_tokens=5, extra_body=EXACT, extra_headers={"x-nonce": "n-1", "x-request-id": "r-1"}
    )
    assert answer.usage is not None
    assert (answer.usage.completion_tokens, answer.choices[0].finish_reason) == (5, "length")
    assert len((answer.choices[0].message.content or "").split()) == 5
    assert (answer.system_fingerprint, answer.id) == ("n-1", "chatcmpl-r-1")


def test_streamed_chat_is_one_frame_a_token_with_usage_last(fleet: SimFleet, sdk: Sdk) -> None:
    worker = fleet.workers[0]
    stream = sdk(worker).chat.completions.create(
        **chat(worker), max_tokens=6, stream=True, stream_options={"include_usage": True}, user="u-1", extra_body=EXACT
    )
    *chunks, last = list(stream)
    assert [chunk.choices[0].delta.role for chunk in chunks] == ["assistant", *[None] * 6]
    assert all(len((chunk.choices[0].delta.content or "").split()) == 1 for chunk in chunks[1:])
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * 6 + ["length"]
    assert {chunk.usage for chunk in chunks} == {None}
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 6
    assert {chunk.system_fingerprint for chunk in (*chunks, last)} == {"u-1"}


def test_continuous_usage_counts_up(fleet: SimFleet, http: httpx.Client) -> None:
    worker = fleet.workers[0]
    options = {"include_usage": True, "continuous_usage_stats": True}
    body = chat(worker, stream=True, max_tokens=3, stream_options=options, **EXACT)
    answer = http.post(f"{worker.url}/v1/chat/completions", json=body)
    frames = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert frames.pop() == "[DONE]"
    assert [json.loads(frame)["usage"]["completion_tokens"] for frame in frames] == [1, 1, 2, 3, 3]


@pytest.mark.parametrize("stream", [False, True])
def test_legacy_completions_with_several_prompts(fleet: SimFleet, sdk: Sdk, stream: bool) -> None:
    worker = fleet.workers[0]
    answer = sdk(worker).completions.create(
        model=worker.model, prompt=["a b c", "d e f"], max_tokens=3, n=2, stream=stream, extra_body=EXACT
    )
    parts = list(answer) if isinstance(answer, openai.Stream) else [answer]
    texts = dict.fromkeys(range(4), "")
    for part in parts:
        for choice in part.choices:
            texts[choice.index] += choice.text
    assert [len(text.split()) for text in texts.values()] == [3, 3, 3, 3]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_forced_tools(fleet: SimFleet, sdk: Sdk, choice: Any) -> None:
    worker = fleet.workers[0]
    answer = sdk(worker).chat.completions.create(**chat(worker), tools=[WEATHER], tool_choice=choice)
    (call,) = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls"
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "sim"})


def test_forced_tools_streamed(fleet: SimFleet, sdk: Sdk) -> None:
    worker = fleet.workers[0]
    with sdk(worker).chat.completions.stream(**chat(worker), tools=[WEATHER], tool_choice="required") as stream:
        final = stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls or []
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "sim"})


def test_small_pages(fleet: SimFleet, sdk: Sdk, http: httpx.Client) -> None:
    worker = fleet.workers[0]
    (card,) = sdk(worker).models.list().data
    assert (card.id, card.owned_by) == (worker.model, "vllm")
    assert http.get(f"{worker.url}/health").status_code == 200
    assert "version" in http.get(f"{worker.url}/version").json()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/chat/completions", b"{", 400),
        ("/v1/chat/completions", b'{"messages": []}', 400),
        ("/v1/chat/completions", b'{"model": "other", "messages": [{"role": "user", "content": "x"}]}', 404),
        ("/v1/chat/completions", b'{"messages": [{}], "max_tokens": 999999}', 400),
        ("/v1/completions", b'{"prompt": {"no": 1}}', 400),
        ("/v1/rerank", b"{}", 404),
    ],
)
def test_errors_have_vllms_shape(fleet: SimFleet, http: httpx.Client, path: str, body: bytes, status: int) -> None:
    answer = http.post(fleet.workers[0].url + path, content=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, status)
    assert set(error) == {"message", "type", "param", "code"}


def test_a_full_batch_queues_and_metrics_agree_with_the_truth(fleet: SimFleet, http: httpx.Client) -> None:
    worker = fleet.workers[0]
    streams = [http.build_request("POST", f"{worker.url}/v1/chat/completions", json=long(worker)) for _ in range(6)]
    answers = [http.send(request, stream=True) for request in streams]
    fleet.wait(worker.name, lambda state: (state["running"], state["waiting"]) == (4, 2))
    deadline = time.monotonic() + 2.0
    while (found := gauges(http, worker))["vllm:num_requests_waiting"] != 2.0 and time.monotonic() < deadline:
        pass  # the engine publishes at its next step
    for answer in answers:
        answer.close()
    assert (found["vllm:num_requests_running"], found["vllm:num_requests_waiting"]) == (4.0, 2.0)
    assert found["vllm:kv_cache_usage_perc"] > 0


def gauges(http: httpx.Client, worker: Server) -> dict[str, float]:
    """The gauges of a worker's page."""
    families = text_string_to_metric_families(http.get(f"{worker.url}/metrics").text)
    return {family.name: family.samples[0].value for family in families if family.type == "gauge"}


def long(worker: Server, **more: Any) -> dict[str, Any]:
    """A stream that does not end within a test."""
    return chat(worker, stream=True, max_tokens=3000, ignore_eos=True, **more)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_client_that_leaves_frees_its_seat(fleet: SimFleet, stream: bool) -> None:
    worker = fleet.workers[0]
    before = fleet.state(worker.name)["aborted"]
    body = chat(worker, max_tokens=3000, ignore_eos=True, stream=stream)
    with socket.create_connection(("127.0.0.1", worker.port)) as client:
        raw = json.dumps(body).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: sim\r\ncontent-length: {len(raw)}\r\n\r\n"
        client.sendall(head.encode() + raw)
        fleet.wait(worker.name, lambda state: state["running"] == 1)
    state = fleet.wait(worker.name, lambda state: state["aborted"] == before + 1)
    assert (state["running"], state["kv"]) == (0, 0.0)


def test_a_queued_client_that_leaves_is_forgotten(fleet: SimFleet, http: httpx.Client) -> None:
    worker = fleet.workers[0]
    requests = [http.build_request("POST", f"{worker.url}/v1/chat/completions", json=long(worker)) for _ in range(5)]
    answers = [http.send(request, stream=True) for request in requests]
    fleet.wait(worker.name, lambda state: state["waiting"] == 1)
    answers[4].close()
    state = fleet.wait(worker.name, lambda state: state["waiting"] == 0)
    assert state["running"] == 4
    for answer in answers[:4]:
        answer.close()


def test_the_journal_proves_what_arrived_and_keeps_no_secret(fleet: SimFleet, http: httpx.Client) -> None:
    worker = fleet.workers[1]
    since = fleet.state(worker.name)["received"]
    headers = {"authorization": "Bearer secret-key", "x-nonce": "n-7", "x-request-id": "r-7"}
    http.post(f"{worker.url}/v1/chat/completions", json=chat(worker, max_tokens=4, **EXACT), headers=headers)
    http.post(f"{worker.url}/v1/chat/completions", content=b"{")
    http.get(f"{worker.url}/metrics")
    good, bad = fleet.requests(worker.name, since)
    assert (good["x_nonce"], good["x_request_id"], good["authorization"]) == ("n-7", "r-7", True)
    assert (good["outcome"], good["status"], good["completion_tokens"]) == ("finished", 200, 4)
    assert (bad["outcome"], bad["status"], bad["authorization"]) == ("error", 400, False)
    assert "secret-key" not in json.dumps([good, bad])
    assert fleet.requests(worker.name, good["seq"] + 2) == []


def test_gauges_lag_as_configured(http: httpx.Client) -> None:
    with start(**{**FAST, "workers": 1, "worker": {**FAST["worker"], "gauge_lag_s": 0.5}}) as fleet:
        worker = fleet.workers[0]

        def running() -> float:
            page = http.get(f"{worker.url}/metrics").text
            return next(f.samples[0].value for f in text_string_to_metric_families(page) if f.name.endswith("running"))

        with http.stream("POST", f"{worker.url}/v1/chat/completions", json=long(worker)):
            fleet.wait(worker.name, lambda state: state["running"] == 1)
            began = time.monotonic()
            assert running() == 0.0
            while running() == 0.0:
                assert time.monotonic() - began < 3.0
            assert time.monotonic() - began > 0.3


def test_the_same_seed_gives_the_same_answers(http: httpx.Client) -> None:
    def lengths(seed: int) -> list[int]:
        quick = FAST["worker"] | {"step_ms": 0.5}
        with start(**{**FAST, "workers": 1, "seed": seed, "worker": quick}) as fleet:
            worker = fleet.workers[0]
            url = f"{worker.url}/v1/chat/completions"
            answers = [http.post(url, json=chat(worker, max_tokens=150)).json() for _ in range(4)]
            return [answer["usage"]["completion_tokens"] for answer in answers]

    assert lengths(3) == lengths(3) != lengths(4)
