"""SIGKILL: of a worker in the middle of its work, and of a gateway that holds leases."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import redis

from gateway.store.embedded import Embedded
from loadtests.simfleet.harness import SimFleet, start
from tests.gateways import KEY, Lane, Site, chat_body, eventually, gateway_on, lease_count, start_lanes

PAIR = Lane("pair", workers=2, seats=64, cloud=False, route={"max_wait": "20s", "attempts": 3})
SLOW = {"max_num_seqs": 64, "step_ms": 10.0, "per_seq_ms": 0.1, "per_prompt_token_ms": 0.0005, "gauge_lag_s": 0.0}
TOKENS = 150
"""About 2 s of work: nobody is done when the worker dies."""
PLAIN, STREAMS, SDK_STREAMS = 20, 12, 8
LEASE_SECONDS = 5.0
"""Longest life of a lease whose owner is dead, in the store's time."""
LOOK_SECONDS = 0.1
"""For the test's own two looks at the store."""


@pytest.fixture
def workers() -> Iterator[list[SimFleet]]:
    """Two workers, each a process of its own."""
    with (
        start(workers=[{"name": "pair-1"}], managed=0, worker=SLOW) as first,
        start(workers=[{"name": "pair-2"}], managed=0, worker=SLOW) as second,
    ):
        yield [first, second]


async def plain(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post("/v1/chat/completions", json=chat_body("pair", max_tokens=TOKENS, ignore_eos=True))


async def stream(client: httpx.AsyncClient) -> tuple[httpx.Response, list[str]]:
    """The answer and its events as they came."""
    body = chat_body("pair", max_tokens=TOKENS, ignore_eos=True, stream=True)
    async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        text = "".join([piece async for piece in answer.aiter_text()])
    return answer, [event.removeprefix("data: ") for event in text.split("\n\n") if event]


async def sdk_stream(client: openai.AsyncOpenAI) -> tuple[int, openai.APIError | None]:
    """How many pieces of text were delivered, and how it ended."""
    pieces = 0
    chunks = await client.chat.completions.create(
        model="pair",
        messages=[{"role": "user", "content": "hello"}],
        max_tokens=TOKENS,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    try:
        async for chunk in chunks:
            pieces += bool(chunk.choices[0].delta.content)
    except openai.APIError as error:
        return pieces, error
    return pieces, None


async def kill_when_busy(victim: SimFleet) -> None:
    """Once it streams to many, and before anybody is done."""

    def busy() -> bool:
        state = victim.state("pair-1")
        running, tokens = int(state["running"]), int(state["generation_tokens"])
        return running >= (PLAIN + STREAMS + SDK_STREAMS) // 4 and tokens > 300

    await asyncio.to_thread(eventually, busy, "the worker is busy")
    victim.kill()


async def load(site: Site, victim: SimFleet) -> tuple[list[Any], list[Any], list[Any]]:
    limits = httpx.Limits(max_connections=PLAIN + STREAMS)
    headers = {"Authorization": f"Bearer {KEY}"}
    base: dict[str, Any] = {
        "base_url": site.gateway.url,
        "headers": headers,
        "trust_env": False,
        "timeout": 30,
        "limits": limits,
    }
    async with httpx.AsyncClient(**base) as client, site.async_sdk() as sdk:
        killing = asyncio.create_task(kill_when_busy(victim))
        done = await asyncio.gather(
            asyncio.gather(*(plain(client) for _ in range(PLAIN))),
            asyncio.gather(*(stream(client) for _ in range(STREAMS))),
            asyncio.gather(*(sdk_stream(sdk) for _ in range(SDK_STREAMS))),
        )
        await killing
    return done


def test_a_worker_killed_in_the_middle_of_its_work(workers: list[SimFleet], tmp_path: Path) -> None:
    with gateway_on(workers, [PAIR], tmp_path) as site:
        answers, streams, sdk_streams = asyncio.run(load(site, workers[0]))

        # What had not sent a byte is answered by the other worker, as if nothing had been.
        assert [answer.status_code for answer in answers] == [200] * PLAIN
        assert all(answer.json()["usage"]["completion_tokens"] == TOKENS for answer in answers)
        attempts = [[attempt["result"] for attempt in site.receipt(answer)["attempts"]] for answer in answers]
        assert ["Reset", "answered"] in attempts
        assert {tuple(tried) for tried in attempts} <= {
            ("answered",),
            ("Reset", "answered"),
            ("ConnectFailed", "answered"),
        }

        # A stream in progress ends with an error event and no [DONE], after the frames that were delivered.
        broken = [(answer, events) for answer, events in streams if events[-1] != "[DONE]"]
        assert broken
        for answer, events in broken:
            assert "[DONE]" not in events
            assert json.loads(events[-1])["error"]["code"] == "upstream_error"
            assert all("error" not in json.loads(event) for event in events[:-1])
            assert len(events) > 2
            assert site.receipt(answer)["attempts"][-1]["result"] == "broke_off"
        for _, events in streams:
            if events[-1] == "[DONE]":
                assert sum(bool(_text(event)) for event in events[:-1]) == TOKENS

        # The SDK raises what it knows and the caller keeps the text it has got.
        failed = [(pieces, error) for pieces, error in sdk_streams if error is not None]
        assert failed
        assert all(0 < pieces < TOKENS and error.code == "upstream_error" for pieces, error in failed)
        assert all(pieces == TOKENS for pieces, error in sdk_streams if error is None)
        site.quiet("pair")


def _text(event: str) -> str | None:
    text: str | None = json.loads(event)["choices"][0]["delta"].get("content")
    return text


def test_the_leases_of_a_killed_gateway_are_gone_soon_and_no_live_one_is(tmp_path: Path, own_server: Embedded) -> None:
    lane = Lane("shared", seats=8, cloud=False)
    env = {"GATEWAY_REDIS_URL": own_server.url}
    with (
        start_lanes([lane]) as fleet,
        gateway_on([fleet], [lane], tmp_path / "a", env) as dying,
        gateway_on([fleet], [lane], tmp_path / "b", env) as living,
        redis.Redis.from_url(own_server.url) as store,
    ):
        with living.occupied("shared", 2):
            with dying.occupied("shared", 3):
                assert lease_count(store, "shared") == 5
                dying.gateway.process.send_signal(signal.SIGKILL)
                dying.gateway.process.wait()
                killed_at = store_seconds(store)
            eventually(lambda: lease_count(store, "shared") == 2, "the dead one's leases are gone", LEASE_SECONDS + 1)
            assert store_seconds(store) - killed_at <= LEASE_SECONDS + LOOK_SECONDS
            fleet.wait("shared-1", lambda state: state["running"] == 2)
            for _ in range(10):
                time.sleep(0.1)
                assert lease_count(store, "shared") == 2
        eventually(lambda: lease_count(store, "shared") == 0, "the living one gives its own back")


def store_seconds(store: redis.Redis) -> float:
    seconds, micros = store.time()
    return float(seconds) + float(micros) / 1e6
