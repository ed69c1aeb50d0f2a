"""What an upstream cannot do goes to one that can: found out by its `can`, by its price, or only as it is ordered."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from loadtests.simproviders.azure import Azure
from loadtests.simproviders.base import Provider
from loadtests.simproviders.gmi import ROOT as GMI_ROOT
from loadtests.simproviders.gmi import Gmi
from loadtests.simproviders.serving import serve as serve_provider
from tests.e2e.test_audit import entries
from tests.gateways import Lane, Site, eventually, serve

ACCOUNTS = {"gmi": ("us", GMI_ROOT), "gmi-eu": ("de", GMI_ROOT), "azure": ("us", "/openai/v1")}
PICTURE = {"per_image": 0.035}
ROUNDED = {"per_second": 0.05, "sold_seconds": [4, 6, 8], "round": "up"}
MODELS: list[tuple[str, str, list[tuple[str, str, dict[str, Any]]]]] = [
    ("either", "image", [("gmi", "gpt-image-2-generate", PICTURE), ("azure", "gpt-image-2", PICTURE)]),
    ("at-home", "image", [("gmi-eu", "gpt-image-2-generate", PICTURE), ("azure", "gpt-image-2", PICTURE)]),
    ("neither", "image", [("gmi", "gpt-image-2-generate", PICTURE), ("gmi-eu", "gpt-image-2", PICTURE)]),
    ("bound", "video", [("gmi-eu", "veo-3.1-lite-generate-001", ROUNDED)]),
    ("rounded", "video", [("gmi", "veo-3.1-lite-generate-001", ROUNDED)]),
]
UNKNOWN_TO_GMI = {"background": "transparent"}


class Market(NamedTuple):
    site: Site
    providers: dict[str, Provider]

    def drawn(self, model: str, **more: Any) -> Any:
        return self.site.http.post("/v1/images/generations", json={"model": model, "prompt": "a fox", **more})

    @property
    def asked(self) -> dict[str, int]:
        return {name: len(each.asks) for name, each in self.providers.items() if each.asks}


@pytest.fixture(scope="module")
def open_market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    with contextlib.ExitStack() as stack:
        made: dict[str, Provider] = {"gmi": Gmi(), "gmi-eu": Gmi(), "azure": Azure()}
        urls = {name: stack.enter_context(serve_provider(each)).url for name, each in made.items()}

        def written(files: dict[str, Any]) -> dict[str, Any]:
            for name, (zone, root) in ACCOUNTS.items():
                dialect = name.partition("-")[0]
                keys = [{"name": f"{name}-{number}", "url": urls[name] + root, "key": "sim-key"} for number in (1, 2)]
                private = {"private_endpoint_in": ["de"]} if zone == "de" else {}
                bought = {
                    **private,
                    "name": name,
                    "kind": "managed",
                    "zone": zone,
                    "dialect": dialect,
                    "simulated": True,
                }
                files["backends.yaml"]["backends"].append({**bought, "upstreams": keys})
            for name, modality, by in MODELS:
                served = [{"backend": backend, "as": known, "price": price} for backend, known, price in by]
                files["models.yaml"]["models"].append({"name": name, "modality": modality, "served_by": served})
                rule = {"name": name, "match": {"model": name}, "route": {"backends": [backend for backend, *_ in by]}}
                files["routing.yaml"]["rules"].append(rule)
                if name == "bound":
                    rule["route"] |= {"residency": "de"}
            return files

        env = {"GATEWAY_ARTEFACTS_FLOOR": "0"}
        place = tmp_path_factory.mktemp("who-can")
        yield Market(stack.enter_context(serve(place, [Lane("text", cloud=False)], env, written)), made)


@pytest.fixture
def market(open_market: Market) -> Market:
    for each in open_market.providers.values():
        each.reset()
    return open_market


def test_who_turns_out_not_to_know_a_field_is_passed_by(market: Market) -> None:
    answer = market.drawn("either", **UNKNOWN_TO_GMI)
    assert answer.status_code == 200, answer.text
    assert market.asked == {"azure": 1}
    receipt = market.site.receipt(answer)
    assert [one["result"] for one in receipt["attempts"]] == ["Incapable", "answered"]  # not each account of it
    assert receipt["drops"]["capability"] == 2
    assert Decimal(str(receipt["cost"]["usd"])) == Decimal("0.035")


def test_where_nobody_can_the_parameter_is_named(market: Market) -> None:
    answer = market.drawn("neither", **UNKNOWN_TO_GMI)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "background")
    assert "its own fields are" in answer.json()["error"]["message"]
    assert market.asked == {}
    assert market.site.receipt(answer)["outcome"] == "failed"


def test_data_that_must_stay_is_refused_and_goes_nowhere_else(market: Market) -> None:
    headers = {"X-Data-Residency": "eu"}
    body = {"model": "at-home", "prompt": "a fox", **UNKNOWN_TO_GMI}
    answer = market.site.http.post("/v1/images/generations", json=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "background")
    assert market.asked == {}
    assert market.drawn("at-home", **UNKNOWN_TO_GMI).status_code == 200  # whose data may go


def test_it_fails_none_of_its_circuits(market: Market) -> None:
    for _ in range(12):
        assert market.drawn("either", **UNKNOWN_TO_GMI).status_code == 200
    assert market.drawn("either").status_code == 200
    assert market.asked == {"azure": 12, "gmi": 1}


def test_a_job_that_may_not_be_kept_is_refused_and_written_down_whoever_demands_it(market: Market) -> None:
    answer = market.site.http.post("/v1/videos", json={"model": "bound", "prompt": "a lighthouse", "seconds": "4"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "residency_refused")
    told = entries(market.site.data)[-1]
    assert told["request"] == answer.headers["x-request-id"]
    assert (told["what"], told["demand"], told["by"], told["rule"]) == ("refused", ["de"], ["rule"], "bound")


def test_a_length_that_is_sold_as_the_next_longer_one_is_ordered_as_that(market: Market) -> None:
    http, gmi = market.site.http, market.providers["gmi"]
    gmi.faults.at_once = True
    made = http.post("/v1/videos?wait=30", json={"model": "rounded", "prompt": "a lighthouse", "seconds": "5"}).json()
    assert made["status"] == "completed", made
    ordered = [json.loads(ask.raw) for ask in gmi.asks if ask.method == "POST"]
    assert [one["payload"]["durationSeconds"] for one in ordered] == [6]
    job = eventually(lambda: (http.get(f"/v1/gateway/jobs/{made['id']}").json()).get("cost"), "its cost is known")
    assert Decimal(str(job["usd"])) == Decimal("0.30")  # six seconds: what GMI charges
    refused = http.post("/v1/videos", json={"model": "rounded", "prompt": "a lighthouse", "seconds": "9"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "seconds")
    assert "4, 6 or 8" in refused.json()["error"]["message"]
