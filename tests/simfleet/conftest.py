"""One fast fleet for the HTTP tests: steps of a few milliseconds instead of fifty."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest

from loadtests.simfleet.harness import Server, SimFleet, start

FAST: dict[str, Any] = {
    "seed": 7,
    "workers": 2,
    "managed": 1,
    "worker": {"max_num_seqs": 4, "step_ms": 4.0, "per_seq_ms": 0.1, "gauge_lag_s": 0.0, "max_model_len": 4096},
    "api": {"ttft_median_s": 0.02, "tokens_per_s": 2000.0, "frames_per_s": 50.0},
}


@pytest.fixture(scope="session")
def shared_fleet() -> Iterator[SimFleet]:
    with start(**FAST) as fleet:
        yield fleet


@pytest.fixture
def fleet(shared_fleet: SimFleet) -> Iterator[SimFleet]:
    """The shared fleet, healthy again after each test."""
    yield shared_fleet
    for server in (*shared_fleet.workers, *shared_fleet.managed):
        shared_fleet.config(server.name, alive=True, clear=True)
        shared_fleet.wait(server.name, lambda state: state["running"] == 0 and state.get("waiting", 0) == 0)


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=10) as client:
        yield client


Sdk = Callable[..., openai.OpenAI]


@pytest.fixture
def sdk() -> Iterator[Sdk]:
    """Makes official clients, as they are, against one server each."""
    with contextlib.ExitStack() as clients:

        def client(server: Server, key: str = "sim-managed-key") -> openai.OpenAI:
            base = server.url if server.url.endswith("/v1") else f"{server.url}/v1"
            http_client = openai.DefaultHttpxClient(trust_env=False, timeout=10)
            return clients.enter_context(
                openai.OpenAI(base_url=base, api_key=key, max_retries=0, http_client=http_client)
            )

        yield client


def chat(server: Server, **more: Any) -> dict[str, Any]:
    """A chat request body."""
    return {"model": server.model, "messages": [{"role": "user", "content": "hello"}], **more}
