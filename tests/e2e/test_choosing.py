"""What a rule says about who takes part and who is best, over HTTP: objective, filters, bounds on the cost."""

from __future__ import annotations

import httpx

from tests.e2e.test_spill_when import strangers
from tests.gateways import Lane, Site, eventually

AMPLE = {"max_num_seqs": 200, "limit_work_s": 1000}
DEAR = {"gpu": {"kind": "H100", "usd_per_hour": 100_000}}
"""A worker whose rent for a request is more than any API asks for it."""


def both(name: str, **route: object) -> dict[str, object]:
    return {"backends": [name, f"{name}-api"], "spill": None, **route}


LANES = [
    Lane("cost", seats=1, route=both("cost", objective="cost", max_wait=0)),
    Lane("dear", backend=DEAR, route=both("dear", objective="cost", scorers={"price": 0, "list_price": 1})),
    Lane("vetoed", seats=2, worker=AMPLE, route={"filters": {"queue_depth": "< 4"}}),
    Lane("patient", cloud=False, seats=2, worker=AMPLE, route={"filters": {"queue_depth": "< 4"}, "max_wait": "15s"}),
    Lane("bounded", seats=1, route={"backends": ["bounded-api"], "spill": None, "max_cost_usd": 0}),
]


def ends(answer: httpx.Response) -> tuple[str, str]:
    assert answer.status_code == httpx.codes.OK, answer.text
    return answer.headers["x-gateway-outcome"], answer.headers["x-gateway-reason"]


def test_the_cheaper_backend_comes_first_whatever_the_order(site: Site) -> None:
    assert ends(site.chat("cost")) == ("local", "local_has_room")
    with site.occupied("cost") as streams:
        assert ends(site.chat("cost")) == ("managed", "rule")
    assert site.receipt(streams[0])["outcome"] == "local", "its place is free again"
    assert ends(site.chat("cost")) == ("local", "local_has_room"), "however full the last snapshot saw it"
    assert ends(site.chat("dear")) == ("managed", "cheaper")


def test_a_worker_with_a_queue_is_left_out_until_it_is_short(site: Site) -> None:
    url = next(worker.url for worker in site.fleet.workers if worker.name == "vetoed-1")
    with strangers(url, 8):
        eventually(lambda: (site.metric("gateway_upstream_queue_depth", upstream="vetoed-1") or 0) >= 4, "it queues")
        away = site.chat("vetoed")
    assert ends(away) == ("spilled", "queue_wait")
    assert site.receipt(away)["drops"] == {"queue_depth": 1}
    eventually(lambda: ends(site.chat("vetoed"))[0] == "local", "it is short again")


def test_where_nothing_may_leave_a_request_waits_for_the_filter(site: Site) -> None:
    url = next(worker.url for worker in site.fleet.workers if worker.name == "patient-1")
    with strangers(url, 8):
        eventually(lambda: (site.metric("gateway_upstream_queue_depth", upstream="patient-1") or 0) >= 4, "it queues")
        refused = site.chat("patient", {"X-Gateway-Max-Wait-Ms": "50"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "fleet_saturated")
        assert "retry-after" in refused.headers
    waited = site.chat("patient")
    assert ends(waited) == ("local", "local_has_room")
    assert site.receipt(waited)["times"]["queue_ms"] >= 0


def test_the_rule_bounds_what_one_request_may_cost(site: Site) -> None:
    refused = site.chat("bounded")
    assert (refused.status_code, refused.json()["error"]["code"]) == (402, "max_cost_exceeded")
    assert "max_cost_usd" in refused.json()["error"]["message"]
