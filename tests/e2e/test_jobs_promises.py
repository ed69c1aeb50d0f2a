"""What holds for a request holds for a job, whoever works on it and when: where its data may go, what it may cost, how
often it counts."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.money.keys import hash_key
from loadtests.simproviders.gmi import ROOT, Gmi
from loadtests.simproviders.serving import serve
from loadtests.stack import start_gateway
from tests.e2e.test_audit import entries
from tests.gateways import KEY, LOCAL, PEPPER, ZONES, Site, eventually, write_folder
from tests.studio import Act, Handler, Seen, Studio, after, dies, gallery, painted, refuses, studio

ADMIN = "admin-key-of-the-promises"
PRICE, DAY = 0.05, "day"
KNOWN = "gpt-image-2-generate"
POOR, COUNTED, AGAIN, SPENT = "key-poor", "key-counted", "key-again", "key-spent"
ENV = {
    "GATEWAY_KEY_PEPPER": PEPPER,
    "GATEWAY_ADMIN_KEY": ADMIN,
    "GATEWAY_ARTEFACTS_FLOOR": "0",
    "GATEWAY_ARTEFACTS_ZONE": "de",
}
CALM = {"breaker": {"consecutive": 1000, "least": 1000}}
"""What failed one test is asked in the next."""
Change = Callable[[dict[str, Any]], None]


@dataclass(slots=True)
class Market:
    """`ours` is the one worker of backend `gpu`, with one seat; `eu` and `us` are bought. Model `pic` is at home and
    leaves for `us`; `eu-pic` is bought in `eu` and falls back to `us`; `us-pic` is bought there alone."""

    site: Site
    ours: Studio
    eu: Gmi
    us: Gmi
    files: dict[str, Any]

    def draw(self, model: str = "pic", key: str = KEY, headers: Any = None, **more: Any) -> httpx.Response:
        body = {"model": model, "prompt": "a fox", "background": True, **more}
        return self.site.http.post("/v1/images/generations", json=body, headers={**bearer(key), **(headers or {})})

    def ended(self, made: httpx.Response, key: str = KEY, wait: float = 15) -> dict[str, Any]:
        assert made.status_code == httpx.codes.ACCEPTED, made.text
        path = f"/v1/gateway/jobs/{made.json()['id']}"
        told: dict[str, Any] = self.site.http.get(path, params={"wait": wait}, headers=bearer(key)).json()
        assert told["ended_at"] is not None, told
        return told

    def change(self, change: Change) -> None:
        """The policy is another one from here on."""
        files = json.loads(json.dumps(self.files))
        change(files)
        write_folder(self.site.folder, files)
        assert self.site.http.post("/admin/v1/policies/reload", headers=bearer(ADMIN)).status_code == httpx.codes.OK

    def busy(self) -> tuple[httpx.Response, threading.Event]:
        """A job that has the one seat at home until it is told to end."""
        done, paint = threading.Event(), painted()

        def waits(handler: Handler, seen: Seen) -> None:
            done.wait(20)
            paint(handler, seen)

        self.ours.acts.append(waits)
        made = self.draw()
        eventually(lambda: self.ours.seen, "the worker has it")
        return made, done

    def audited(self, told: dict[str, Any]) -> list[tuple[str, str | None, list[str]]]:
        mine = [one for one in entries(self.site.data) if one["request"] == told["receipt"]]
        return [(one["what"], one.get("upstream"), one["demand"]) for one in mine]

    def held(self) -> list[int]:
        rows = self.site.http.get("/admin/v1/budgets", headers=bearer(ADMIN)).json()["budgets"]
        return [row["held"] for row in rows]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def folder(ours: str, eu: str, us: str) -> dict[str, Any]:
    def bought(name: str, zone: str, url: str, **more: Any) -> dict[str, Any]:
        account = {"name": f"{name}-1", "url": url + ROOT, "key": "sim-key"}
        return {
            "name": name,
            "kind": "managed",
            "zone": zone,
            "dialect": "gmi",
            "simulated": True,
            "upstreams": [account],
            **CALM,
            **more,
        }

    worker = {"name": "w0", "url": ours, "max_num_seqs": 1, "engine": "openai"}
    gpu = {"name": "gpu", "kind": "local", "zone": "onprem", "gpu": {"kind": "H100", "usd_per_hour": 2.0}, **CALM}
    served = {"eu": {"backend": "eu", "as": KNOWN}, "us": {"backend": "us", "as": KNOWN}}
    served = {name: {**one, "price": {"per_image": PRICE}} for name, one in served.items()}
    leaves = {"backends": ["gpu"], "max_wait": "0s", "spill": {"backends": ["us"]}, "fallback": ["us"]}
    stuck = {"backends": ["eu"], "fallback": ["us"], "timeouts": {"queued": "500ms"}}
    routes = {"pic": leaves, "eu-pic": stuck, "us-pic": {"backends": ["us"]}}
    by = {
        "pic": [{"backend": "gpu", "as": "weights"}, served["us"]],
        "eu-pic": [served["eu"], served["us"]],
        "us-pic": [served["us"]],
    }
    tenants = {
        KEY: {"name": "acme"},
        POOR: {"name": "poor", "budgets": [{"usd": PRICE / 2, "per": DAY}]},
        COUNTED: {"name": "counted", "limits": {"requests_per_day": 2}},
        AGAIN: {"name": "again", "limits": {"requests_per_day": 1}, "budgets": [{"usd": 1.5 * PRICE, "per": DAY}]},
        SPENT: {"name": "spent", "budgets": [{"usd": 1.5 * PRICE, "per": DAY}]},
    }
    return {
        "backends.yaml": {
            "zones": ZONES,
            "backends": [
                {**gpu, "upstreams": [worker]},
                bought("eu", "de", eu, private_endpoint_in=["de"]),
                bought("us", "us", us),
            ],
        },
        "models.yaml": {
            "models": [{"name": name, "modality": "image", "served_by": them} for name, them in by.items()]
        },
        "routing.yaml": {
            "rules": [{"name": name, "match": {"model": name}, "route": route} for name, route in routes.items()]
        },
        "tenants.yaml": {"tenants": [{**one, "keys": [hash_key(PEPPER, key)]} for key, one in tenants.items()]},
    }


@contextlib.contextmanager
def running(place: Path, market: tuple[Studio, Gmi, Gmi], files: dict[str, Any]) -> Iterator[Market]:
    log = place / "gateway.log"
    with (
        start_gateway(place / "policies", place / "data", env=ENV, log=log) as gateway,
        httpx.Client(base_url=gateway.url, headers=bearer(KEY), trust_env=False, timeout=30.0) as http,
    ):
        site = Site(gateway, None, place / "policies", place / "data", log, http)  # type: ignore[arg-type]
        yield Market(site, *market, files)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, tuple[Studio, Gmi, Gmi], dict[str, Any]]]:
    place = tmp_path_factory.mktemp("promises")
    with studio() as ours, serve(Gmi()) as eu, serve(Gmi()) as us:
        files = folder(ours.url, eu.url, us.url)
        write_folder(place / "policies", files)
        yield place, (ours, eu.provider, us.provider), files


@pytest.fixture(scope="module")
def opened(world: tuple[Path, tuple[Studio, Gmi, Gmi], dict[str, Any]]) -> Iterator[Market]:
    with running(*world) as market:
        yield market


@pytest.fixture
def market(opened: Market) -> Iterator[Market]:
    opened.ours.acts.clear()
    opened.ours.seen.clear()
    opened.eu.reset()
    opened.us.reset()
    yield opened
    opened.change(lambda files: None)


def test_what_may_leave_does(market: Market) -> None:
    """The next tests can fail: with no demand the bought API is asked."""
    market.ours.acts += [refuses(500)]
    assert market.ended(market.draw())["state"] == "succeeded"
    assert market.us.submits == 1


@pytest.mark.parametrize("act", [refuses(500), dies], ids=["500", "dies"])
def test_a_flagged_job_whose_worker_fails_is_not_bought(market: Market, act: Act) -> None:
    market.ours.acts += [act]
    told = market.ended(market.draw(headers=LOCAL))
    assert (told["state"], len(market.ours.seen)) == ("failed", 1)
    assert {one["backend"] for one in told["tries"]} == {"gpu"}
    assert (market.us.submits, market.eu.submits) == (0, 0)
    assert {upstream for what, upstream, _ in market.audited(told) if what == "sent"} == {"w0"}
    assert all(demand == ["local"] for _, _, demand in market.audited(told))


def test_a_flagged_job_that_is_stuck_does_not_fall_back_abroad(market: Market) -> None:
    market.eu.faults.stuck, market.eu.faults.at_once = True, False
    told = market.ended(market.draw("eu-pic", headers={"X-Data-Residency": "de", "X-Gateway-Deadline-Ms": "3000"}))
    assert told["state"] in ("failed", "expired")
    assert {one["backend"] for one in told["tries"]} == {"eu"}, told
    assert (market.eu.submits > 0, market.us.submits) == (True, 0)
    assert ("sent", "eu-1", ["de"]) in market.audited(told)
    assert market.ended(market.draw("eu-pic"))["tries"][-1]["backend"] == "us", "with no demand it does"


def test_a_demand_survives_the_policy_that_accepted_it(market: Market) -> None:
    """It was flagged at home, and waits; by the time there is room, its rule sends everything abroad."""
    slow, done = market.busy()
    flagged = market.draw(headers=LOCAL)
    free = market.draw("us-pic")

    def abroad(files: dict[str, Any]) -> None:
        for rule in files["routing.yaml"]["rules"]:
            rule["route"] = {"backends": ["us"]}

    market.change(abroad)
    done.set()
    assert market.ended(slow)["state"] == "succeeded"
    assert market.ended(free)["state"] == "succeeded"
    told = market.ended(flagged, wait=20)
    assert (told["state"], told["error"]["code"]) == ("failed", "residency_refused"), told
    assert market.us.submits == 1, "the one that was free to leave"
    assert ("refused", None, ["local"]) in market.audited(told)


@pytest.mark.parametrize("zone", ["de", "eu", "us"])
def test_what_is_demanded_by_now_holds_for_where_its_results_lie(market: Market, zone: str) -> None:
    """Accepted with no demand; its tenant has one by the time that there is room."""
    slow, done = market.busy()
    waits = market.draw(headers={"X-Gateway-Max-Cost-Usd": "0"})

    def flagged(files: dict[str, Any]) -> None:
        files["tenants.yaml"]["tenants"][0]["residency"] = zone
        files["backends.yaml"]["zones"] = {**ZONES, "onprem": {"within": ["de", "us"]}}

    market.change(flagged)
    done.set()
    told = market.ended(waits, wait=20)
    assert market.ended(slow)["state"] == "succeeded", "it was with its worker already"
    expected = ("failed", "residency_refused") if zone == "us" else ("succeeded", None)
    assert (told["state"], told["error"] and told["error"]["code"]) == expected, "results lie in `de`"
    assert len(market.ours.seen) == (1 if zone == "us" else 2)


@pytest.mark.parametrize("zone", ["us", "de,us"])
def test_a_job_whose_results_may_not_lie_here_is_refused_and_audited(market: Market, zone: str) -> None:
    answer = market.draw("us-pic", headers={"X-Data-Residency": zone})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "residency_refused")
    assert market.us.submits == 0
    last = [one for one in entries(market.site.data) if one["request"] == answer.headers["x-request-id"]]
    assert [(one["what"], one["demand"]) for one in last] == [("refused", sorted(zone.split(",")))]


def test_no_room_in_the_budget_is_told_before_it_is_accepted(market: Market) -> None:
    answer = market.draw("us-pic", POOR)
    assert (answer.status_code, answer.json()["error"]["code"]) == (402, "budget_exceeded"), answer.text
    assert market.site.http.get("/v1/gateway/jobs", headers=bearer(POOR)).json()["data"] == []
    assert market.us.submits == 0
    assert market.ended(market.draw("pic", POOR), POOR)["state"] == "succeeded", "at home it costs nothing"
    eventually(lambda: not any(market.held()), "nothing is set aside")


def test_a_job_counts_once_as_it_comes(market: Market) -> None:
    assert market.draw(key=COUNTED, prompt="").status_code == 400
    assert market.draw("nobody", COUNTED).status_code == 404
    for _ in range(2):
        market.ended(market.draw(key=COUNTED), COUNTED)
    assert market.draw(key=COUNTED).status_code == 429


def test_a_call_that_repeats_one_counts_for_nothing(market: Market) -> None:
    once = {"Idempotency-Key": "k"}
    market.us.faults.at_once, market.us.job_s = False, 0.5
    made = [market.draw("us-pic", AGAIN, once) for _ in range(3)]
    assert {(one.status_code, one.json()["id"]) for one in made} == {(202, made[0].json()["id"])}, made[1].text
    assert market.ended(made[0], AGAIN)["state"] == "succeeded"
    late = market.draw("us-pic", AGAIN, once)
    assert late.json()["id"] == made[0].json()["id"], "its limits and its budget are used up, and it is there"
    other = market.draw("us-pic", AGAIN, once, size="1024x1024")
    assert (other.status_code, other.json()["error"]["type"]) == (409, "invalid_request_error"), other.text
    assert market.draw("us-pic", AGAIN).status_code in (402, 429)
    assert market.us.submits == 1
    market.us.job_s = 0.05


def test_what_a_cancelled_job_had_set_aside_is_free_again(market: Market) -> None:
    market.us.faults.stuck, market.us.faults.at_once = True, False
    made = market.draw("us-pic", SPENT)
    eventually(lambda: market.us.submits, "it is ordered", within=15)
    assert market.draw("us-pic", SPENT).status_code == 402, "the first one holds what there is"
    market.site.http.post(f"/v1/gateway/jobs/{made.json()['id']}/cancel", headers=bearer(SPENT))
    assert market.ended(made, SPENT)["state"] == "cancelled"
    eventually(lambda: not any(market.held()), "nothing is set aside")


def test_a_flagged_job_that_another_process_goes_on_with_stays_at_home(
    world: tuple[Path, tuple[Studio, Gmi, Gmi], dict[str, Any]], tmp_path: Path
) -> None:
    _, (ours, eu, us), files = world
    write_folder(tmp_path / "policies", files)
    us.reset()
    ours.seen.clear()
    ours.acts[:] = [after(3.0, painted()), refuses(500)]
    with running(tmp_path, (ours, eu, us), files) as first:
        flagged = first.draw(headers=LOCAL)
        eventually(lambda: ours.seen, "a worker has it")
        first.site.gateway.kill()
    with running(tmp_path, (ours, eu, us), files) as second:
        told = second.ended(flagged, wait=20)
        assert {one["backend"] for one in told["tries"]} == {"gpu"}
        assert len(ours.seen) > 1, "it was asked once more"
        assert us.submits == 0
        audited = second.audited(told)
        assert {demand for _, _, (demand,) in audited} == {"local"}
        assert [upstream for what, upstream, _ in audited if what == "sent"] == ["w0"] * len(ours.seen)


@pytest.mark.parametrize(("status", "orders"), [(503, 1), (500, 1), (429, 3)])
def test_what_a_bought_api_may_have_taken_is_not_ordered_again(tmp_path: Path, status: int, orders: int) -> None:
    """A 429 says that it has not; a 503 of its own says nothing, and is booked."""
    with gallery(tmp_path, {"GATEWAY_ARTEFACTS_FLOOR": "0"}) as rooms:
        rooms.theirs.acts[:] = [refuses(status), refuses(status)]
        body = {"model": "pic-api", "prompt": "one picture", "background": True}
        made = rooms.site.http.post("/v1/images/generations?wait=10", json=body).json()
        ended = rooms.site.http.get(f"/v1/gateway/jobs/{made['id']}").json()
        assert ended["state"] == ("succeeded" if status == 429 else "failed"), ended
        assert len(rooms.theirs.seen) == len(ended["tries"]) == orders
