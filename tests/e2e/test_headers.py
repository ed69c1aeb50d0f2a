"""Headers in, up, and down: what a caller may say, what an upstream may see, what comes back."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from tests.gateways import BATCH_KEY, KEY, Lane, Site

LANES = [
    Lane("chat", workers=1, seats=8),
    Lane("pair", workers=2, route={"attempts": 2}),
    Lane("bought", route={"backends": ["bought-api"], "spill": None}, api={"rpm": 1000, "tpm": 10_000_000}),
    Lane("slow", seats=4, cloud=False, sim={"step_ms": 300.0}),
    Lane("queue", seats=1, cloud=False, route={"max_wait": "20s"}),
    Lane("hasty", seats=1, cloud=False, route={"max_wait": "100ms"}),
]
SENT_UP = {
    "host",
    "content-type",
    "content-length",
    "accept",
    "accept-encoding",
    "x-request-id",
    "traceparent",
}
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SHARES = {"interactive": 1.0, "standard": 0.9, "batch": 0.7}


def last_request(site: Site, server: str) -> dict[str, Any]:
    return site.fleet.requests(server)[-1]


# in


@pytest.mark.parametrize(
    ("sent", "echoed"),
    [
        ("my-id-1", "my-id-1"),
        ("a b;c", "a b;c"),
        ("x" * 128, "x" * 128),
        ("x" * 129, None),
        ("", None),
        ("caf\u00e9", None),
        ("tab\there", None),
    ],
)
def test_the_callers_own_id_comes_back_if_it_is_short_and_printable(site: Site, sent: str, echoed: str | None) -> None:
    headers = [(b"X-Request-Id", sent.encode("latin-1"))]
    answer = site.http.get("/v1/models", headers=headers)
    assert answer.headers.get("x-client-request-id") == echoed
    assert len(answer.headers["x-request-id"]) == 32
    assert answer.headers["x-request-id"] != sent


def test_the_callers_id_is_on_answers_errors_and_receipts(site: Site) -> None:
    answer = site.chat("chat", {"X-Request-Id": "mine"})
    failed = site.chat("nonesuch", {"X-Request-Id": "mine"})
    assert {each.headers["x-client-request-id"] for each in (answer, failed)} == {"mine"}
    assert answer.headers["x-request-id"] != failed.headers["x-request-id"]
    assert site.receipt(answer)["client_id"] == "mine"


@pytest.mark.parametrize("name", ["Authorization", "x-api-key"])
def test_the_key_may_come_in_either_header(site: Site, name: str) -> None:
    value = f"Bearer {KEY}" if name == "Authorization" else KEY
    with httpx.Client(base_url=site.gateway.url, trust_env=False) as client:
        assert client.get("/v1/models", headers={name: value}).status_code == 200
        refused = client.get("/v1/models", headers={name: value + "x"})
        missing = client.get("/v1/models")
    assert {(r.status_code, r.json()["error"]["code"]) for r in (refused, missing)} == {(401, "invalid_key")}


@pytest.mark.parametrize(
    ("key", "asked", "given"),
    [
        (KEY, "interactive", "interactive"),
        (KEY, None, "standard"),
        (KEY, "batch", "batch"),
        (BATCH_KEY, "interactive", "batch"),
        (BATCH_KEY, None, "batch"),
    ],
)
def test_priority_is_never_above_the_tenants(site: Site, key: str, asked: str | None, given: str) -> None:
    """The class shows in the share of the worker's limit that the request may fill."""

    def limit(key: str, asked: str | None) -> int:
        headers = {"Authorization": f"Bearer {key}", **({"X-Gateway-Priority": asked} if asked else {})}
        receipt = site.receipt(site.chat("chat", headers), key)
        found: int = receipt["candidates"][0]["limit"]
        return found

    assert limit(key, asked) == pytest.approx(SHARES[given] * limit(KEY, "interactive"), abs=1)


# up


def test_nothing_of_the_caller_goes_up(site: Site) -> None:
    mine = {
        "Cookie": "session=1",
        "OpenAI-Organization": "org-mine",
        "OpenAI-Project": "proj-mine",
        "x-api-key": KEY,
        "X-Forwarded-For": "10.0.0.1",
        "Proxy-Authorization": "Basic eDp5",
        "User-Agent": "me",
        "X-Stainless-Lang": "python",
        "X-Nonce": "1",
        "traceparent": TRACEPARENT,
        "tracestate": "a=b",
    }
    assert site.chat("chat", mine).status_code == 200
    local = last_request(site, "chat-1")
    assert set(local["header_names"]) == SENT_UP | {"tracestate"}, "to workers of ours: it is the caller's own text"
    assert site.chat("bought", mine).status_code == 200
    bought = last_request(site, "bought-api")
    assert set(bought["header_names"]) == SENT_UP | {"authorization"}, "the API's own key, from the policy folder"


@pytest.mark.parametrize("value", ["", "00-xyz", TRACEPARENT.upper(), TRACEPARENT + "0", "00-" + "0" * 52])
def test_a_malformed_trace_context_is_not_continued(site: Site, value: str) -> None:
    assert site.chat("chat", {"traceparent": value}).status_code == 200
    assert "traceparent" not in last_request(site, "chat-1")["header_names"]


def test_every_attempt_has_an_id_of_its_own(site: Site) -> None:
    for worker in ("pair-1", "pair-2"):
        site.fleet.config(worker, error_rate=1.0)
    answer = site.chat("pair", {"X-Request-Id": "mine"})
    assert answer.status_code == 502
    assert len(site.receipt(answer)["attempts"]) == 2
    ids = [last_request(site, worker)["x_request_id"] for worker in ("pair-1", "pair-2")]
    assert len({*ids, answer.headers["x-request-id"], "mine"}) == 4
    assert all(len(each) == 32 for each in ids)


# down


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_the_upstreams_account_headers_do_not_come_down(site: Site, stream: bool) -> None:
    answer = site.chat("bought", stream=stream)
    assert answer.status_code == 200
    theirs = [name for name in answer.headers if name.startswith(("x-ratelimit", "openai-"))]
    assert theirs == []
    assert not answer.headers["x-request-id"].startswith("req_")


# limits of time and money


@pytest.mark.parametrize(("lane", "header", "bound"), [("queue", 200, 200), ("hasty", 20_000, 100)])
def test_max_wait_can_only_be_shortened(site: Site, lane: str, header: int, bound: int) -> None:
    with site.occupied(lane):
        began = time.monotonic()
        refused = site.chat(lane, {"X-Gateway-Max-Wait-Ms": str(header)})
        took_ms = (time.monotonic() - began) * 1000
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "fleet_saturated")
    assert bound <= took_ms < bound + 1500


def test_a_deadline_ends_the_wait_for_capacity(site: Site) -> None:
    with site.occupied("queue"):
        refused = site.chat("queue", {"X-Gateway-Deadline-Ms": "200"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (504, "deadline_exceeded")


def test_a_deadline_ends_the_answer_and_is_not_the_workers_failure(site: Site) -> None:
    for _ in range(5):
        refused = site.chat("slow", {"X-Gateway-Deadline-Ms": "100"}, max_tokens=50)
        assert (refused.status_code, refused.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert len(site.receipt(refused)["attempts"]) == 1, "there was no time for a second one"
    site.fleet.wait("slow-1", lambda state: state["running"] == 0)
    assert site.metric("gateway_upstream_up", upstream="slow-1") == 1
    assert site.chat("slow", max_tokens=1).status_code == 200


def test_max_cost_refuses_rather_than_spends(site: Site) -> None:
    before = len(site.fleet.requests("bought-api"))
    refused = site.chat("bought", {"X-Gateway-Max-Cost-Usd": "0.00001"}, max_tokens=1000)
    assert (refused.status_code, refused.json()["error"]["code"]) == (402, "max_cost_exceeded")
    unbounded = site.http.post(
        "/v1/chat/completions",
        json={"model": "bought", "messages": [{"role": "user", "content": "hello"}]},
        headers={"X-Gateway-Max-Cost-Usd": "1"},
    )
    assert unbounded.status_code == 402, "nothing bounds the output"
    assert len(site.fleet.requests("bought-api")) == before
    allowed = site.chat("bought", {"X-Gateway-Max-Cost-Usd": "0.01"}, max_tokens=1000, ignore_eos=True)
    assert allowed.status_code == 200
    assert float(allowed.headers["x-gateway-cost-usd"]) <= 0.01
    assert site.chat("chat", {"X-Gateway-Max-Cost-Usd": "0"}).status_code == 200, (
        "our own workers cost the caller nothing"
    )
