"""Where a request's data may go is settled before anything else and never traded: the bought API is the witness."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from gateway.upstreams.dialects.realtime import REALTIME
from gateway.upstreams.dialects.surface import PATHS, is_anthropic
from tests.gateways import ELSEWHERE, EU_KEY, LOCAL, Lane, Site, chat_body, eventually

SHORT = {"max_wait": "500ms"}
INSIDE = {"zone": "de", "private_endpoint_in": ["de"], "networks": ["127.0.0.0/8"]}
LANES = [
    Lane("stay", workers=2, seats=1, flagged=SHORT),
    Lane("storm", workers=4, seats=2, flagged=SHORT),
    Lane("down", managed=INSIDE, flagged={**SHORT, "fallback": ["down-api"]}),
    Lane("abroad", backend={"zone": "us"}),
    Lane(
        "private",
        seats=1,
        managed=INSIDE,
        flagged={"spill": {"backends": ["private-api"]}, "max_wait": 0},
    ),
    Lane("by-model", seats=1, model={"residency": "local"}, flagged=SHORT),
    Lane("by-rule", seats=1, route={"residency": "local", "spill": None, "max_wait": "500ms"}),
    Lane("peer", host=ELSEWHERE, cloud=False, backend={"networks": ["10.0.0.0/8"]}, worker={"engine": "openai"}),
    Lane("probed-peer", host=ELSEWHERE, cloud=False, backend={"networks": ["10.0.0.0/8"]}),
]
SMALL_PROMPT, FLAGGED_PROMPT = "hello", "data that must stay " * 50
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
}
FLAGGED_TOKENS = 200
"""More prompt tokens than any unflagged request has: what tells the two apart at the simulated API."""


def flagged(site: Site, model: str, value: str = "local", **body: Any) -> httpx.Response:
    messages = [{"role": "user", "content": FLAGGED_PROMPT}]
    return site.chat(model, {"X-Data-Residency": value}, messages=messages, **body)


def everything_received(site: Site) -> int:
    return sum(site.fleet.state(server.name)["received"] for server in (*site.fleet.workers, *site.fleet.managed))


def test_a_flagged_request_is_answered_at_home(site: Site) -> None:
    answer = flagged(site, "stay")
    assert answer.status_code == 200
    told = answer.headers
    assert (told["x-gateway-outcome"], told["x-gateway-reason"]) == ("local", "residency")
    assert told["x-gateway-rule"] == "stay-flagged"
    assert site.receipt(answer)["residency"] == ["local"]


def test_under_full_load_it_waits_and_then_is_refused_but_never_leaves(site: Site) -> None:
    with site.occupied("stay", 2):
        began = time.monotonic()
        refused = flagged(site, "stay")
        waited = time.monotonic() - began
        spilled = site.chat("stay")
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "fleet_saturated")
    assert int(refused.headers["retry-after"]) >= 1
    assert waited >= 0.5
    assert spilled.headers["x-gateway-outcome"] == "spilled"
    seen = site.fleet.requests("stay-api")
    assert len(seen) == 1, "the one without the flag"
    assert seen[0]["prompt_tokens"] < FLAGGED_TOKENS


def test_room_that_comes_free_in_time_is_given_to_the_flagged_one(site: Site) -> None:
    with ThreadPoolExecutor(1) as pool, site.occupied("stay", 1):
        with site.occupied("stay", 1):
            waiting = pool.submit(flagged, site, "stay")
            eventually(lambda: site.metric("gateway_requests_in_flight") == 3, "it waits")
        answer = waiting.result()
    assert (answer.status_code, answer.headers["x-gateway-outcome"]) == (200, "local")
    assert float(answer.headers["x-gateway-queue-ms"]) > 0


ALONE = 8
"""One in four meets the worker that answers at first: hardly ever do all."""


def test_no_retry_ever_takes_it_out_of_the_house(site: Site) -> None:
    """Workers answer 500, cut answers off, are dead; the API is idle all the while and gets the unflagged ones only."""
    site.fleet.config("storm-1", error_rate=1.0)
    site.fleet.config("storm-2", error_rate=1.0, error_status=503)
    site.fleet.config("storm-3", drop_mid_stream={"share": 1.0, "after_frames": 1})
    site.fleet.config("storm-4", die=True)

    def one(number: int) -> httpx.Response:
        if number % 3 == 0:
            return site.chat("storm", max_tokens=20)
        return flagged(site, "storm", max_tokens=20, stream=number % 3 == 1)

    first = [
        flagged(site, "storm", max_tokens=20) for _ in range(ALONE)
    ]  # before circuits open, so that some are retried
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(one, range(60)))
    demanding = first + [answer for number, answer in enumerate(answers) if number % 3]
    assert {answer.status_code for answer in demanding} <= {200, 429, 502, 503}
    assert all(answer.headers.get("x-gateway-outcome", "local") == "local" for answer in demanding)
    receipts = [site.receipt(answer) for answer in demanding]
    tried = {attempt["upstream"] for receipt in receipts for attempt in receipt["attempts"]}
    assert tried <= {"storm-1", "storm-2", "storm-3", "storm-4"}
    assert any(len(receipt["attempts"]) > 1 for receipt in receipts), "there were retries"
    assert all(seen["prompt_tokens"] < FLAGGED_TOKENS for seen in site.fleet.requests("storm-api"))


def test_with_every_worker_down_it_is_told_to_come_back(site: Site) -> None:
    """Even where the rule names a fallback: the demand is stronger."""
    site.fleet.config("down-1", die=True)
    for _ in range(3):
        refused = flagged(site, "down")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_capacity")
        assert int(refused.headers["retry-after"]) >= 1
    assert site.fleet.requests("down-api") == []


@pytest.mark.parametrize(
    "value", ["", "mars", "local,mars", "local;eu", "eu,,de", ",", "eu de", "LOKAL", "*", "local\xff", "e" * 200]
)
def test_a_demand_that_is_not_understood_is_refused_and_sent_nowhere(site: Site, value: str) -> None:
    before = everything_received(site)
    headers = [(b"X-Data-Residency", value.encode("latin-1"))]
    answer = site.http.post("/v1/chat/completions", json=chat_body("stay"), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "residency_unknown")
    assert answer.json()["error"]["param"] == "X-Data-Residency"
    assert everything_received(site) == before


@pytest.mark.parametrize("path", PATHS)
def test_a_misspelt_name_is_refused_wherever_something_is_generated(site: Site, path: str) -> None:
    before = everything_received(site)
    wrong = {"X-Data-Residancy": "not-to-be-told"}
    if path == REALTIME.path:
        answer = site.http.get(path, params={"model": "stay"}, headers={**wrong, **HANDSHAKE})
    else:
        answer = site.http.post(path, json=chat_body("stay"), headers=wrong)
    assert answer.status_code == 400, answer.text
    told = answer.json()["error"]
    assert "x-data-residancy: no such header; where data may go is said by X-Data-Residency" in told["message"]
    if not is_anthropic(path):
        assert (told["code"], told["param"]) == ("residency_unknown", "x-data-residancy")
    assert "not-to-be-told" not in answer.text
    assert everything_received(site) == before


@pytest.mark.parametrize("value", ["local", "LOCAL", "local,local", "eu", "de, eu", "onprem,local"])
def test_our_zone_lies_in_the_zones_around_it(site: Site, value: str) -> None:
    answer = flagged(site, "stay", value)
    assert (answer.status_code, answer.headers["x-gateway-outcome"]) == (200, "local")


@pytest.mark.parametrize(("model", "value"), [("abroad", "eu"), ("stay", "us"), ("stay", "eu,us"), ("private", "us")])
def test_where_the_policy_allows_no_upstream_it_is_403(site: Site, model: str, value: str) -> None:
    before = everything_received(site)
    answer = flagged(site, model, value)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "residency_refused")
    assert everything_received(site) == before


@pytest.mark.parametrize(
    ("values", "status"), [(["eu", "local"], 200), (["eu", "us"], 403), (["local", "mars"], 400), (["local", ""], 400)]
)
def test_several_headers_must_all_hold(site: Site, values: list[str], status: int) -> None:
    headers = [("X-Data-Residency", value) for value in values]
    assert site.http.post("/v1/chat/completions", json=chat_body("stay"), headers=headers).status_code == status


def test_a_private_endpoint_inside_the_zone_may_take_it_where_the_rule_names_it(site: Site) -> None:
    with site.occupied("private"):
        allowed = {value: flagged(site, "private", value) for value in ("de", "eu")}
        strict = flagged(site, "private", "local")
    for answer in allowed.values():
        assert (answer.status_code, answer.headers["x-gateway-outcome"]) == (200, "spilled")
    assert (strict.status_code, strict.json()["error"]["code"]) == (429, "fleet_saturated")
    assert len(site.fleet.requests("private-api")) == 2


@pytest.mark.parametrize(
    ("model", "headers", "shown"),
    [
        ("stay", {"Authorization": f"Bearer {EU_KEY}"}, ["eu"]),
        ("stay", {"Authorization": f"Bearer {EU_KEY}", "X-Data-Residency": "local"}, ["local", "eu"]),
        ("by-model", {}, ["local"]),
        ("by-model", {"X-Data-Residency": "de"}, ["local", "de"]),
        ("by-rule", {}, ["local"]),
    ],
    ids=["tenant", "tenant+header", "model", "model+header", "rule"],
)
def test_tenant_model_and_rule_have_a_say_and_the_strictest_holds(
    site: Site, model: str, headers: Mapping[str, str], shown: list[str]
) -> None:
    witness = f"{model}-api"
    before = len(site.fleet.requests(witness))
    with site.occupied(model, 2 if model == "stay" else 1):
        answer = site.chat(model, headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "fleet_saturated")
    key = headers.get("Authorization", "").removeprefix("Bearer ")
    assert site.receipt(answer, **({"key": key} if key else {}))["residency"] == shown
    assert len(site.fleet.requests(witness)) == before


def test_metadata_has_a_say_on_every_path(site: Site) -> None:
    metadata = {"data_residency": "local", "user_id": "u"}
    with site.occupied("stay", 2):
        refused = site.chat("stay", metadata=metadata)
        claude = site.http.post("/v1/messages", json=chat_body("stay", metadata=metadata))
        both = site.chat("stay", {"X-Data-Residency": "de"}, metadata=metadata)
    assert [answer.status_code for answer in (refused, claude, both)] == [429, 429, 429]
    assert [site.receipt(answer)["residency"] for answer in (refused, both)] == [["local"], ["local", "de"]]
    assert site.chat("stay", metadata=metadata).headers["x-gateway-rule"] == "stay-flagged"


@pytest.mark.parametrize("value", ["", "mars", "local,,eu", 7, ["eu"]])
def test_a_demand_in_metadata_that_is_not_understood_is_refused(site: Site, value: Any) -> None:
    before = everything_received(site)
    answer = site.chat("stay", LOCAL, metadata={"data_residency": value})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "residency_unknown")
    assert answer.json()["error"]["param"] == "metadata.data_residency"
    assert everything_received(site) == before


def test_a_peer_outside_the_declared_networks_gets_nothing(site: Site) -> None:
    """The worker is named by host; that it is not in 10.0.0.0/8 shows only when the connection is open."""
    answer = site.chat("peer", LOCAL)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_capacity")
    assert [attempt["result"] for attempt in site.receipt(answer)["attempts"]] == ["PermitRefused"]
    state = site.fleet.state("peer-1")
    assert (state["received"], state["probes"]) == (0, {})


def test_a_peer_outside_the_declared_networks_is_not_even_probed(site: Site) -> None:
    eventually(lambda: site.metric("gateway_upstream_up", upstream="probed-peer-1") == 0, "it is taken out")
    assert site.chat("probed-peer").status_code == 503
    state = site.fleet.state("probed-peer-1")
    assert (state["received"], state["probes"]) == (0, {})
