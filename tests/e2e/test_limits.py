"""Limits over two gateways: what is answered beyond them, and what every answer tells of them."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import anthropic
import httpx
import openai
import pytest

from gateway.money.keys import hash_key
from tests.gateways import PEPPER, Lane, Site, chat_body, eventually

ENV = {"GATEWAY_WORKERS": "2"}
LANES = [Lane("talk"), Lane("broken", cloud=False), Lane("slow", cloud=False, sim={"step_ms": 1_000.0})]
DAY = 86_400
DAILY, TOKENS, SEATS, SDK, MESSAGES, MINUTE = "key-day", "key-tok", "key-seat", "key-sdk", "key-msg", "key-min"
HASTY = "key-hasty"
HELLO: Any = [{"role": "user", "content": "hello"}]


def written(files: dict[str, Any]) -> dict[str, Any]:
    def tenant(name: str, key: str, own: dict[str, int] | None = None, **limits: int) -> dict[str, Any]:
        made = {"hash": hash_key(PEPPER, key), "id": name, **({"limits": own} if own else {})}
        return {"name": name, "keys": [made], "limits": limits}

    files["tenants.yaml"]["tenants"] += [
        tenant("daily", DAILY, requests_per_day=20),
        tenant("tokens", TOKENS, tokens_per_day=2_000),
        tenant("hasty", HASTY, tokens_per_day=2_000),
        tenant("seats", SEATS, concurrent=2),
        tenant("sdk", SDK, requests_per_day=1),
        tenant("messages", MESSAGES, requests_per_day=1),
        tenant("minute", MINUTE, {"requests_per_minute": 1_000}, requests_per_day=2_000),
    ]
    return files


def ask(site: Site, key: str, model: str = "talk", **body: Any) -> httpx.Response:
    """On a connection of its own, so that either process may answer."""
    url, given = f"{site.gateway.url}/v1/chat/completions", {"Authorization": f"Bearer {key}"}
    return httpx.post(url, json=chat_body(model, **body), headers=given, trust_env=False, timeout=20)


def seconds_left() -> float:
    """Of the day."""
    return DAY - time.time() % DAY


def used(site: Site, name: str) -> dict[str, Any]:
    rows = site.http.get("/admin/v1/budgets").json()["budgets"]
    return next(row for row in rows if row["name"] == name)


def test_exactly_so_many_of_two_processes_together(site: Site) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(site, DAILY), range(30)))
    assert sorted(one.status_code for one in answers) == [200] * 20 + [429] * 10
    refused = next(one for one in answers if one.status_code == 429)
    error = refused.json()["error"]
    assert (error["code"], error["type"]) == ("rate_limited", "rate_limit_error")
    assert "tenant daily: requests_per_day" in error["message"]
    assert abs(int(refused.headers["retry-after"]) - seconds_left()) < 5
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert site.receipt(refused, DAILY)["error"] == "rate_limited"
    eventually(lambda: used(site, "tenant daily: requests_per_day")["used"] == 20, "counted once each")
    assert site.metric("gateway_rate_limited_total", of="tenant", limit="requests_per_day") == 10


def test_what_is_refused_before_it_is_sent_takes_nothing(site: Site) -> None:
    before = used(site, "tenant minute: requests_per_day")["used"]
    assert ask(site, MINUTE, "nobody-has-this").status_code == 404
    bad = ask(site, MINUTE, "talk", max_tokens="many")
    assert bad.status_code == 400
    assert bad.headers["x-ratelimit-limit-requests"] == "1000", "told with every answer"
    assert ask(site, MINUTE).status_code == 200
    eventually(lambda: used(site, "tenant minute: requests_per_day")["used"] == before + 1, "the last one alone")


def test_the_tightest_window_is_told_streams_too(site: Site) -> None:
    answer = ask(site, MINUTE)
    assert answer.headers["x-ratelimit-limit-requests"] == "1000"
    assert int(answer.headers["x-ratelimit-remaining-requests"]) < 1000
    assert re.fullmatch(r"\d{1,2}s|1m0s", answer.headers["x-ratelimit-reset-requests"])
    with site.stream("talk", {"Authorization": f"Bearer {MINUTE}"}) as (streamed, lines):
        list(lines)
        assert streamed.headers["x-ratelimit-limit-requests"] == "1000"
    assert not [name for name in site.chat("talk").headers if "ratelimit" in name], "nobody limits this one"


def test_tokens_are_set_aside_at_most_and_settled_at_what_was_used(site: Site) -> None:
    answer = ask(site, TOKENS, max_tokens=500)
    assert answer.status_code == 200
    total = answer.json()["usage"]["total_tokens"]
    assert 2_000 - int(answer.headers["x-ratelimit-remaining-tokens"]) >= 500
    eventually(lambda: used(site, "tenant tokens: tokens_per_day")["used"] == total, "what was used")
    never = ask(site, TOKENS, max_tokens=5_000)
    assert (never.status_code, never.json()["error"]["param"]) == (400, "max_tokens")
    with site.stream("talk", {"Authorization": f"Bearer {TOKENS}"}, max_tokens=1_200, ignore_eos=True) as (_, lines):
        next(lines)
        refused = ask(site, TOKENS, max_tokens=1_200)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
    eventually(lambda: used(site, "tenant tokens: tokens_per_day")["used"] > total, "what the broken stream used")
    assert used(site, "tenant tokens: tokens_per_day")["used"] < total + 1_200


@pytest.mark.parametrize("stream", [False, True])
def test_whoever_leaves_before_the_first_token_has_used_its_prompt(site: Site, stream: bool) -> None:
    name, body = "tenant hasty: tokens_per_day", chat_body("slow", stream=stream, max_tokens=5)
    before, address = used(site, name)["used"], urlsplit(site.gateway.url)
    headers = {"Authorization": f"Bearer {HASTY}", "Content-Type": "application/json"}
    with closing(HTTPConnection(str(address.hostname), address.port)) as caller:
        caller.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        site.fleet.wait("slow-1", lambda state: state["running"] == 1)
    eventually(lambda: used(site, name)["used"] > before, "it read the prompt for nobody")
    site.fleet.wait("slow-1", lambda state: state["running"] == 0)


def test_requests_at_once(site: Site) -> None:
    given = {"Authorization": f"Bearer {SEATS}"}
    long = {"max_tokens": 4000, "ignore_eos": True}
    with site.stream("talk", given, **long) as (_, one), site.stream("talk", given, **long) as (_, other):
        next(one), next(other)
        refused = ask(site, SEATS)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
    eventually(lambda: ask(site, SEATS).status_code == 200, "who left has left room")


def test_what_the_official_clients_make_of_it(site: Site) -> None:
    with site.sdk(SDK) as client:
        raw = client.chat.completions.with_raw_response.create(model="talk", messages=HELLO, max_tokens=4)
        assert raw.headers["x-ratelimit-remaining-requests"] == "0"
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model="talk", messages=HELLO, max_tokens=4)
    assert caught.value.code == "rate_limited"
    assert abs(int(caught.value.response.headers["retry-after"]) - seconds_left()) < 5


def test_and_anthropics_with_names_of_its_own(site: Site) -> None:
    with site.anthropic_sdk(MESSAGES) as client:
        raw = client.messages.with_raw_response.create(model="talk", messages=HELLO, max_tokens=4)
        assert raw.headers["anthropic-ratelimit-requests-limit"] == "1"
        assert raw.headers["anthropic-ratelimit-requests-remaining"] == "0"
        reset = datetime.fromisoformat(raw.headers["anthropic-ratelimit-requests-reset"])
        assert abs((reset - datetime.now(UTC)).total_seconds() - seconds_left()) < 5
        assert not [name for name in raw.headers if name.startswith("x-ratelimit")]
        with pytest.raises(anthropic.RateLimitError) as caught:
            client.messages.create(model="talk", messages=HELLO, max_tokens=4)
    assert caught.value.response.json()["error"]["type"] == "rate_limit_error"
    assert "retry-after" in caught.value.response.headers


def test_a_request_whose_upstream_failed_has_been_made(site: Site) -> None:
    before = used(site, "tenant minute: requests_per_day")["used"]
    site.fleet.config("broken-1", error_rate=1.0)
    assert ask(site, MINUTE, "broken").status_code in (502, 503)
    eventually(lambda: used(site, "tenant minute: requests_per_day")["used"] == before + 1, "it counts")
