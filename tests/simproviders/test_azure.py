"""Azure OpenAI: the simulated one answers OpenAI's own client, and our request is that client's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import openai
import pytest

from gateway.upstreams.dialects import openai as dialect
from gateway.upstreams.dialects.ordered import dialect_of
from loadtests.simproviders.azure import ROOT, Azure
from loadtests.simproviders.serving import Running, serve
from tests.simproviders.driving import account, seen

KEY = "azure-key"


@pytest.fixture(scope="module")
def azure() -> Iterator[Running[Azure]]:
    with serve(Azure(key=KEY)) as running:
        yield running


async def test_the_official_client_is_answered_and_we_show_the_key_as_it_does(azure: Running[Azure]) -> None:
    to = account("azure", azure.url + ROOT, KEY)
    body = {"model": "gpt-chat", "messages": [{"role": "user", "content": "x"}]}
    # Its client for Azure speaks the older API alone: v1 is asked by the plain one, with the key in this header.
    sdk = openai.OpenAI(base_url=azure.url + ROOT, api_key="none", default_headers={"api-key": KEY})
    said = await asyncio.to_thread(lambda: sdk.chat.completions.create(**body))  # type: ignore[call-overload]
    assert said.choices[0].message.content == "here it is"
    headers = dialect.headers(to, "attempt-1", False)
    async with httpx.AsyncClient(trust_env=False) as client:
        url = azure.url + dialect.target(to, "chat/completions")
        got = await client.post(url, headers=headers, json=body)
    assert got.status_code == 200
    theirs, ours = (seen(ask) for ask in azure.provider.asks)
    assert theirs["headers"].pop("authorization") == "Bearer none"  # it cannot be left out
    assert ours["headers"].pop("x-request-id") == "attempt-1"
    theirs["headers"] = {name: value for name, value in theirs["headers"].items() if not name.startswith("x-stainless")}
    assert ours == theirs


def test_it_takes_the_callers_bytes() -> None:
    assert dialect_of(account("azure", "http://x"), "images/generations") is None
