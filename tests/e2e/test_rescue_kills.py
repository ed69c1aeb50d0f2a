"""SIGKILL of a simulated worker under load, with rescue on: nobody's stream ends before it should."""

from __future__ import annotations

import asyncio
from pathlib import Path

import openai

from loadtests.simfleet.harness import SimFleet, start
from tests.gateways import Lane, Site, eventually, gateway_on

SAVED = {"max_wait": "20s", "attempts": 3, "rescue": True}
PAIR = Lane("pair", workers=2, seats=64, cloud=False, route=SAVED, flagged={"rescue": True}, worker={"engine": "vllm"})
SLOW = {"max_num_seqs": 64, "step_ms": 10.0, "per_seq_ms": 0.1, "per_prompt_token_ms": 0.0005, "gauge_lag_s": 0.0}
STREAMS, TOKENS = 12, 80


async def read(sdk: openai.AsyncOpenAI, number: int) -> tuple[str, str]:
    """The id and the text of one stream; the text depends on its prompt alone. Every second one is flagged."""
    asked = sdk.chat.completions.with_raw_response.create(
        model="pair",
        messages=[{"role": "user", "content": f"hello {number}"}],
        max_tokens=TOKENS,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"ignore_eos": True},
        extra_headers={"X-Data-Residency": "local"} if number % 2 else {},
    )
    answer = await asked
    chunks = [chunk async for chunk in answer.parse()]
    assert len({chunk.id for chunk in chunks}) == 1
    assert sum(bool(chunk.choices and chunk.choices[0].delta.role) for chunk in chunks) == 1
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "length"
    assert chunks[-1].usage is not None
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    return answer.headers["x-request-id"], text


async def load(site: Site, victim: SimFleet) -> list[tuple[str, str]]:
    async with site.async_sdk() as sdk:
        reading = [asyncio.create_task(read(sdk, number)) for number in range(STREAMS)]
        busy = lambda: int(victim.state("pair-1")["generation_tokens"]) > 100  # noqa: E731
        await asyncio.to_thread(eventually, busy, "the worker is busy")
        victim.kill()
        return await asyncio.gather(*reading)


async def again(site: Site) -> list[tuple[str, str]]:
    async with site.async_sdk() as sdk:
        return await asyncio.gather(*(read(sdk, number) for number in range(STREAMS)))


def test_nobody_notices_that_a_worker_was_killed(tmp_path: Path) -> None:
    with (
        start(workers=[{"name": "pair-1"}], managed=0, worker=SLOW) as first,
        start(workers=[{"name": "pair-2"}], managed=0, worker=SLOW) as second,
        gateway_on([first, second], [PAIR], tmp_path) as site,
    ):
        broken = asyncio.run(load(site, first))
        whole = asyncio.run(again(site))
        assert [text for _, text in broken] == [text for _, text in whole]
        receipts = [site.receipt(name) for name, _ in broken]
        saved = [one for one in receipts if one["attempts"][-1]["result"] == "rescued"]
        assert saved, "the worker died too early or too late"
        assert {one["result"] for receipt in saved for one in receipt["attempts"]} <= {
            "broke_off",
            "rescued",
            "ConnectFailed",
            "Reset",
        }
        assert all(one["error"] is None and one["usage"]["output_tokens"] == TOKENS for one in saved)
        assert site.metric("gateway_rescues_total", outcome="rescued") == len(saved)
        site.quiet("pair")
