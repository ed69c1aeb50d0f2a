"""What bounds spill: a share and a budget over two gateways, what a class may do, what an account has left."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.gateways import BATCH_KEY, HASTY, KEY, Lane, Site, chat_body, eventually

ENV = {"GATEWAY_WORKERS": "2"}
SHARE = 0.2
LANES = [
    Lane("shared", seats=1, route={"spill": {"backends": ["shared-api"], "max_share": SHARE}, "max_wait": 0}),
    Lane("kept", seats=1, route={"spill": {"backends": ["kept-api"], "max_share": 0}}),
    Lane("classes", seats=1, route={"classes": {"batch": {"spill": False, "max_wait": "300ms"}}}),
    Lane("limited", seats=1, api={"rpm": 4}),
    Lane("whole", route={"slo": {"total_ms": 400}}, sim={"step_ms": 30.0}),
]


@pytest.fixture
def anybody(site: Site) -> Iterator[httpx.Client]:
    """Every request is a connection of its own, and so may be answered by either process."""
    limits = httpx.Limits(max_keepalive_connections=0)
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=site.gateway.url, headers=headers, trust_env=False, timeout=20, limits=limits) as client:
        yield client


def test_two_processes_together_keep_the_share(site: Site, anybody: httpx.Client) -> None:
    """61 requests in all: the one that fills the worker, and 60 of which a fifth of 61 may leave."""
    with site.occupied("shared"):
        answers = [anybody.post("/v1/chat/completions", json=chat_body("shared")) for _ in range(60)]
        counts = [answer.status_code for answer in answers]
        left = len(site.fleet.requests("shared-api"))
        assert (counts.count(200), counts.count(429)) == (left, 60 - left)
        assert 0.8 * SHARE * 61 <= left <= SHARE * 61, "what the other process has yet to tell may be missing"
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert "max_share" in refused.json()["error"]["message"]
        assert site.receipt(refused)["kept_by"] == "share"
        eventually(lambda: 0 < (site.metric("gateway_spill_share", rule="shared") or 0) <= SHARE, "the share is shown")


def test_what_may_not_leave_waits_at_home(site: Site, anybody: httpx.Client) -> None:
    with ThreadPoolExecutor(1) as pool:
        with site.occupied("kept"):
            later = pool.submit(anybody.post, "/v1/chat/completions", json=chat_body("kept"))
            eventually(lambda: site.metric("gateway_requests_in_flight") == 2, "it is in line")
        answer = later.result(20)
    told = answer.headers
    assert (answer.status_code, told["x-gateway-outcome"], told["x-gateway-reason"]) == (200, "local", "budget")
    assert site.receipt(answer)["kept_by"] == "share"
    assert site.fleet.requests("kept-api") == []


def test_a_class_that_may_not_spill_waits_and_is_refused(site: Site) -> None:
    with site.occupied("classes"):
        assert site.chat("classes").headers["x-gateway-outcome"] == "spilled"
        before = len(site.fleet.requests("classes-api"))
        batch = site.chat("classes", {"Authorization": f"Bearer {BATCH_KEY}"})
        assert (batch.status_code, batch.json()["error"]["code"]) == (429, "fleet_saturated")
        receipt = site.receipt(batch, BATCH_KEY)
        assert receipt["times"]["queue_ms"] >= 300
        assert len(site.fleet.requests("classes-api")) == before


def test_an_account_with_nothing_left_is_not_asked(site: Site) -> None:
    """Four requests a minute: the API's own headers say how many are left, so none of ours is refused by it."""
    with site.occupied("limited"):
        answers = [site.chat("limited", HASTY) for _ in range(8)]
        assert [answer.status_code for answer in answers] == [200] * 4 + [429] * 4
        received = site.fleet.requests("limited-api")
        assert [one["status"] for one in received] == [200] * 4
        eventually(lambda: site.metric("gateway_upstream_headroom", upstream="limited-api") is not None, "it is shown")
        assert (site.metric("gateway_upstream_headroom", upstream="limited-api") or 0) < 0.25
    for answer in answers[:4]:
        assert not [name for name in answer.headers if "ratelimit" in name], "the account's headers are ours alone"


def test_an_answer_that_is_not_whole_in_time_is_a_miss(site: Site) -> None:
    assert site.chat("whole", max_tokens=2, ignore_eos=True).status_code == 200
    assert site.chat("whole", max_tokens=40, ignore_eos=True).status_code == 200
    eventually(lambda: site.metric("gateway_slo_total", rule="whole") == 2, "both are counted")
    assert site.metric("gateway_slo_total", rule="whole", met="yes") == 1
