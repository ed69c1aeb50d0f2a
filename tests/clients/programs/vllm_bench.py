"""What `vllm bench serve` puts on the wire, written anew: vLLM itself is too large to install for a test.

Its backend `openai-chat` (vllm/benchmarks/lib/endpoint_request_func.py): content in parts, `max_completion_tokens`,
`stream_options.include_usage`, `ignore_eos` in the body, a model taken from `/v1/models`, one request as a trial, then
all at once on one pool of connections; usage may come in a chunk that has choices or in one that has none.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

import aiohttp
from features import KEY, LOCAL, NOWHERE, V1, run

TOKENS, MANY = 16, 60
WHOLE = aiohttp.ClientTimeout(total=30.0)


@dataclass(slots=True)
class Answer:
    status: int
    text: str = ""
    tokens: int = 0
    first: float = 0.0
    error: str = ""


def headers_of(key: str, more: dict[str, str]) -> dict[str, str]:
    return {"Content-Type": "application/json", "Authorization": f"Bearer {key}", **more}


async def ask(session: aiohttp.ClientSession, model: str, key: str = KEY, **more: str) -> Answer:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}],
        "temperature": 0.0,
        "max_completion_tokens": TOKENS,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
    }
    began = time.perf_counter()
    async with session.post(f"{V1}/chat/completions", json=body, headers=headers_of(key, more)) as response:
        made = Answer(response.status)
        if response.status != 200:
            made.error = await response.text()
            return made
        async for line in response.content:
            told = line.decode().strip().removeprefix("data: ")
            if told and told != "[DONE]" and not told.startswith(":"):
                _take(made, json.loads(told), began)
    return made


def _take(made: Answer, chunk: dict[str, Any], began: float) -> None:
    if (choices := chunk.get("choices")) and (text := choices[0]["delta"].get("content")):
        made.first = made.first or time.perf_counter() - began
        made.text += text
    elif usage := chunk.get("usage"):
        made.tokens = usage["completion_tokens"]


async def asked(model: str, count: int = 1, key: str = KEY, **more: str) -> list[Answer]:
    pool = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    async with aiohttp.ClientSession(connector=pool, timeout=WHOLE) as session:
        return await asyncio.gather(*(ask(session, model, key, **more) for _ in range(count)))


def stream() -> None:
    (made,) = asyncio.run(asked("chat"))
    assert (len(made.text.split()), made.tokens) == (TOKENS, TOKENS), made
    assert made.first > 0


def many() -> str:
    made = asyncio.run(asked("chat", MANY))
    assert {(one.status, one.tokens) for one in made} == {(200, TOKENS)}, made
    return f"{MANY} at once"


def models() -> None:
    async def first() -> str:
        async with aiohttp.ClientSession() as session, session.get(f"{V1}/models", headers=headers_of(KEY, {})) as got:
            return (await got.json())["data"][0]["id"]

    assert asyncio.run(first()) == "chat"


def refused(model: str, status: int, code: str, key: str = KEY, **more: str) -> None:
    (made,) = asyncio.run(asked(model, 1, key, **more))
    assert (made.status, json.loads(made.error)["error"]["code"]) == (status, code), made


def bad_key() -> None:
    refused("chat", 401, "invalid_key", "wrong")


def full() -> None:
    refused("full", 429, "fleet_saturated")


def down() -> None:
    refused("down", 503, "no_capacity")


def header() -> None:
    assert asyncio.run(asked("chat", **LOCAL))[0].status == 200
    refused("chat", 400, "residency_unknown", **NOWHERE)


run({"stream": stream, "load": many, "models": models, "401": bad_key, "429": full, "503": down, "header": header})
