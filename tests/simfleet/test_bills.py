"""What a simulated API charges, by its own prices, and where that can be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from loadtests.simfleet.bills import charge, read_bills
from loadtests.simfleet.config import ManagedConfig
from loadtests.simfleet.harness import SimFleet, start

from .conftest import FAST, chat

KEY = {"Authorization": "Bearer sim-managed-key", "X-Request-Id": "attempt-1"}
PRICES = {"usd_in_per_1m": 0.25, "usd_cached_per_1m": 0.05, "usd_out_per_1m": 0.75, "cached_share": 0.5}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bills.jsonl"


@pytest.fixture
def billed(path: Path) -> Iterator[SimFleet]:
    api = {**FAST["api"], **PRICES, "tokens_per_s": 200.0}
    with start(**{**FAST, "workers": 1, "api": api}, bills=str(path)) as fleet:
        yield fleet


def ask(fleet: SimFleet, http: httpx.Client, **body: Any) -> httpx.Response:
    api = fleet.managed[0]
    return http.post(f"{api.url}/chat/completions", json=chat(api, ignore_eos=True, **body), headers=KEY)


@pytest.mark.parametrize(
    ("prompt", "cached", "generated", "micro"),
    [(0, 0, 0, 0), (1, 0, 0, 1), (4, 0, 0, 1), (5, 0, 0, 2), (1000, 0, 100, 325), (1000, 400, 100, 245), (3, 3, 1, 1)],
)
def test_it_is_rounded_up_for_each_request(prompt: int, cached: int, generated: int, micro: int) -> None:
    config = ManagedConfig(name="a", **{name: value for name, value in PRICES.items() if name != "cached_share"})
    assert charge(config, prompt, cached, generated) == micro


def test_a_whole_answer(billed: SimFleet, http: httpx.Client, path: Path) -> None:
    usage = ask(billed, http, max_tokens=9).json()["usage"]
    (bill,) = read_bills(path)
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    assert (bill["prompt_tokens"], bill["cached_tokens"], bill["completion_tokens"]) == (
        *(usage["prompt_tokens"], cached),
        9,
    )
    assert cached == usage["prompt_tokens"] // 2
    assert (bill["request_id"], bill["how"], bill["api"]) == ("attempt-1", "finished", "managed-1")


def test_what_is_refused_costs_nothing(billed: SimFleet, http: httpx.Client, path: Path) -> None:
    assert ask(billed, http, max_tokens=-1).status_code == 400
    billed.config("managed-1", error_rate=1.0)
    assert ask(billed, http, max_tokens=9).status_code == 500
    assert read_bills(path) == []


@pytest.mark.parametrize("stream", [True, False])
def test_what_is_broken_off_is_charged_as_far_as_it_was_generated(
    billed: SimFleet, http: httpx.Client, path: Path, stream: bool
) -> None:
    api = billed.managed[0]
    body = chat(api, max_tokens=5000, ignore_eos=True, stream=stream)
    if stream:
        with http.stream("POST", f"{api.url}/chat/completions", json=body, headers=KEY) as answer:
            next(answer.iter_lines())
    else:
        with pytest.raises(httpx.ReadTimeout):
            http.post(f"{api.url}/chat/completions", json=body, headers=KEY, timeout=0.5)
    billed.wait(api.name, lambda state: state["running"] == 0)
    (bill,) = read_bills(path)
    assert bill["how"] == "aborted"
    assert 0 < bill["completion_tokens"] < 5000
    config = ManagedConfig(name="a", **PRICES)
    tokens = (bill["prompt_tokens"], bill["cached_tokens"], bill["completion_tokens"])
    assert bill["micro_usd"] == charge(config, *tokens)


@pytest.mark.parametrize(
    ("usage", "told"),
    [("none", "nothing"), ("negative", -5), ("huge", 10**15), ("text", "many"), ("null", None)],
)
def test_what_is_told_may_be_a_lie_and_the_bill_is_not(
    billed: SimFleet, http: httpx.Client, path: Path, usage: str, told: Any
) -> None:
    billed.config("managed-1", usage=usage)
    said = ask(billed, http, max_tokens=9).json().get("usage", {"completion_tokens": "nothing"})
    assert said["completion_tokens"] == told
    streamed = ask(billed, http, max_tokens=9, stream=True, stream_options={"include_usage": True}).text
    frames = [json.loads(line[6:]) for line in streamed.splitlines() if line.startswith("data: {")]
    seen = [frame["usage"]["completion_tokens"] for frame in frames if frame.get("usage")]
    assert seen == ([] if usage == "none" else [told])
    assert [bill["completion_tokens"] for bill in read_bills(path)] == [9, 9]


def test_no_page_tells_it(billed: SimFleet, http: httpx.Client) -> None:
    ask(billed, http, max_tokens=9)
    told = json.dumps([billed.states(), billed.requests("managed-1"), billed.honesty()])
    assert "usd" not in told
    assert "bill" not in told
