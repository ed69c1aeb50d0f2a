"""Budgets over two gateways: what is set aside, what is refused and in which words, what is told and to whom."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from gateway.money.keys import hash_key
from tests.gateways import HASTY, PEPPER, Lane, Site, chat_body, eventually

ENV = {"GATEWAY_WORKERS": "2"}
CAP = 1_000
"""Micro-dollars."""
LONG: dict[str, Any] = {"max_tokens": 300, "ignore_eos": True}
"""225 micro-dollars of output, and some of the prompt."""
CAPPED = 7
POOR, FREE, BOUND, SOFT, OWN = "key-poor", "key-free", "key-bound", "key-soft", "key-own"


def bought(name: str, **more: Any) -> Lane:
    return Lane(name, route={"backends": [f"{name}-api"], "spill": None}, **more)


LANES = [
    Lane("home", seats=1, route={"max_wait": 0}),
    bought("paid"),
    bought("capped", model={"default_output_cap": CAPPED}),
    bought("shared"),
    Lane("first", seats=1, route={"backends": ["first-api", "first"], "spill": None, "max_wait": "300ms"}),
    Lane("own", cloud=False, model={"default_output_cap": 50}),
]


def budget(usd: float, **more: Any) -> dict[str, Any]:
    return {"usd": usd, "per": "day", **more}


def written(files: dict[str, Any]) -> dict[str, Any]:
    def tenant(name: str, key: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "keys": [{"hash": hash_key(PEPPER, key), "id": name}], **more}

    files["tenants.yaml"]["tenants"] += [
        tenant("poor", POOR, budgets=[budget(CAP / 1e6)]),
        tenant("free", FREE),
        tenant("bound", BOUND, budgets=[budget(5)]),
        tenant("soft", SOFT, budgets=[budget(0.0001, hard=False)]),
        tenant("own", OWN, budgets=[budget(0.0001, local=True)]),
    ]
    files["budgets.yaml"] = {
        "budgets": [
            {"name": "shared", "models": ["sha*"], "backends": ["shared-api"], **budget(CAP / 1e6)},
            {"name": "video", "pipelines": ["clip-*"], **budget(0.0001)},
        ]
    }
    return files


@pytest.fixture
def anybody(site: Site) -> Iterator[httpx.Client]:
    """Every request is a connection of its own, and so may be answered by either process."""
    limits = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(base_url=site.gateway.url, trust_env=False, timeout=20, limits=limits) as client:
        yield client


def ask(client: httpx.Client, key: str, model: str, headers: dict[str, str] | None = None, **body: Any) -> Any:
    given = {"Authorization": f"Bearer {key}", **(headers or {})}
    return client.post("/v1/chat/completions", json=chat_body(model, **body), headers=given)


@contextmanager
def occupied(site: Site, key: str, model: str) -> Iterator[None]:
    """One long stream of this caller runs."""
    more = {"max_tokens": 4000, "ignore_eos": True}
    with site.stream(model, {"Authorization": f"Bearer {key}"}, **more) as (answer, lines):
        next(lines)
        assert answer.headers["x-gateway-outcome"] == "local", dict(answer.headers)
        yield


def spent(answers: list[httpx.Response]) -> int:
    return round(sum(float(one.headers["x-gateway-cost-usd"]) for one in answers) * 1e6)


def used(site: Site, name: str) -> dict[str, Any]:
    rows = site.http.get("/admin/v1/budgets").json()["budgets"]
    return next(row for row in rows if row["name"] == name)


@pytest.mark.parametrize(
    ("key", "model", "name"), [(POOR, "paid", "tenant poor: usd per day"), (FREE, "shared", "budget shared")]
)
def test_so_many_answers_and_then_402(site: Site, anybody: httpx.Client, key: str, model: str, name: str) -> None:
    answers = [ask(anybody, key, model, **LONG) for _ in range(8)]
    paid = [one for one in answers if one.status_code == 200]
    refused = [one for one in answers if one.status_code != 200]
    assert 3 <= len(paid) <= 4
    assert spent(paid) <= CAP
    assert spent(paid) + spent(paid) // len(paid) + 100 > CAP, "nearly all of it could be spent"
    assert {one.status_code for one in refused} == {402}
    error = refused[0].json()["error"]
    assert (error["code"], name in error["message"]) == ("budget_exceeded", True)
    assert 0 < int(refused[0].headers["retry-after"]) <= 86_400
    assert site.receipt(refused[0], key)["quota"] == {"kept": {f"{model}-api": name}}
    assert site.receipt(paid[0], key)["quota"]["of"] == [name]
    eventually(lambda: used(site, name)["used"] == spent(paid), "the store has what was paid, and no more")


def test_what_may_not_be_bought_stays_at_home(site: Site, anybody: httpx.Client) -> None:
    eventually(lambda: used(site, "tenant poor: usd per day")["used"] > CAP // 2, "after the test above")
    answer = ask(anybody, POOR, "home", **LONG)
    assert (answer.status_code, answer.headers["x-gateway-outcome"]) == (200, "local")
    with site.occupied("home"):
        full = ask(anybody, POOR, "home", HASTY, **LONG)
        assert (full.status_code, full.json()["error"]["code"]) == (429, "fleet_saturated")
        assert "tenant poor: usd per day" in full.json()["error"]["message"]
        assert site.receipt(full, POOR)["kept_by"] == "quota"
        assert ask(anybody, FREE, "home", HASTY, **LONG).headers["x-gateway-outcome"] == "spilled"


def test_a_pipeline_has_a_budget_of_its_own(anybody: httpx.Client) -> None:
    refused = ask(anybody, FREE, "paid", {"X-Gateway-Pipeline": "clip-1"}, **LONG)
    assert (refused.status_code, "budget video" in refused.json()["error"]["message"]) == (402, True)
    assert ask(anybody, FREE, "paid", {"X-Gateway-Pipeline": "text"}).status_code == 200


def test_nothing_is_bought_that_nobody_bounds(anybody: httpx.Client) -> None:
    body = chat_body("paid")
    del body["max_tokens"]
    answer = anybody.post("/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {BOUND}"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "max_tokens")
    assert "default_output_cap" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "prompt"),
    [
        ("chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
        ("completions", {"prompt": "hi"}),
        ("responses", {"input": "hi"}),
    ],
)
def test_the_cap_that_money_was_set_aside_for_goes_up(
    site: Site, anybody: httpx.Client, path: str, prompt: dict[str, Any]
) -> None:
    """The API obeys each endpoint's own field."""
    body = {"model": "capped", "ignore_eos": True, **prompt}
    answer = anybody.post(f"/v1/{path}", json=body, headers={"Authorization": f"Bearer {BOUND}"})
    assert answer.status_code == 200, answer.text
    assert site.fleet.requests("capped-api")[-1]["completion_tokens"] == CAPPED
    answer = anybody.post(f"/v1/{path}", json=body, headers={"Authorization": f"Bearer {FREE}"})
    assert answer.status_code == 200
    assert site.fleet.requests("capped-api")[-1]["completion_tokens"] != CAPPED, "nothing was set aside"


def test_past_a_soft_budget_our_own_workers_come_first(site: Site, anybody: httpx.Client) -> None:
    assert ask(anybody, FREE, "first").headers["x-gateway-outcome"] == "managed", "as the rule has it"
    assert ask(anybody, SOFT, "first", **LONG).headers["x-gateway-outcome"] == "managed"
    name = "tenant soft: usd per day"
    eventually(lambda: used(site, name)["left"] < 0, "it is used up")

    def at_home() -> bool:
        return all(ask(anybody, SOFT, "first").headers["x-gateway-outcome"] == "local" for _ in range(4))

    eventually(at_home, "both processes know")
    answer = ask(anybody, SOFT, "first")
    assert site.receipt(answer, SOFT)["quota"]["past"] == name
    with occupied(site, SOFT, "first"):
        waited = ask(anybody, SOFT, "first")
        assert waited.headers["x-gateway-outcome"] == "managed", "soft: it may leave after all"
        assert site.receipt(waited, SOFT)["times"]["queue_ms"] >= 300


def test_our_own_work_is_charged_where_the_budget_says_so(anybody: httpx.Client) -> None:
    refused = ask(anybody, OWN, "own", **LONG)
    assert (refused.status_code, refused.json()["error"]["code"]) == (402, "budget_exceeded")
    assert ask(anybody, FREE, "own", **LONG).status_code == 200


def test_what_is_left_is_shown(site: Site) -> None:
    ratio = eventually(lambda: site.metric("gateway_budget_left_ratio", budget="tenant bound: usd per day"), "shown")
    assert 0.9 < ratio <= 1
    assert used(site, "tenant bound: usd per day")["cap"] == 5_000_000


def test_no_hold_outlives_its_request(site: Site) -> None:
    """Of all that these tests did: answers, refusals, streams that were left. Slices that lie idle go back."""
    site.quiet()

    def nothing_held() -> bool:
        return all(row["held"] == 0 for row in site.http.get("/admin/v1/budgets").json()["budgets"])

    eventually(nothing_held, "nothing is held", within=15)
