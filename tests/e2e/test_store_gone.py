"""The store stalls or dies: the gateway keeps serving, says so, and residency holds."""

from __future__ import annotations

import os
import signal

from tests.gateways import LOCAL, Lane, Site, eventually

LANES = [Lane("chat", workers=2, seats=4), Lane("tight", seats=1, flagged={"max_wait": 0})]


def store_pid(site: Site) -> int:
    return int((site.data / "store.lock").read_text().partition("\n")[0])


def served_without_the_store(site: Site) -> None:
    """Requests are answered, local first; flagged ones stay; what is full is still full."""
    eventually(lambda: site.chat("chat").status_code == 200 and site.metric("gateway_degraded") == 1, "degraded mode")
    answers = [site.chat("chat") for _ in range(5)]
    assert [answer.headers.get("x-gateway-outcome") for answer in answers] == ["local"] * 5
    flagged = [site.chat("chat", LOCAL) for _ in range(5)]
    assert {(answer.status_code, answer.headers["x-gateway-outcome"]) for answer in flagged} == {(200, "local")}
    before = len(site.fleet.requests("tight-api"))
    with site.occupied("tight"):
        assert site.chat("tight", LOCAL).status_code == 429
        assert len(site.fleet.requests("tight-api")) == before
        assert site.chat("tight").headers["x-gateway-outcome"] == "spilled"
    assert site.http.get("/v1/gateway/receipts/0123456789abcdef0123456789abcdef").status_code == 503
    assert site.http.get("/readyz").status_code == 200


def test_a_store_that_stands_still_and_comes_back(site: Site) -> None:
    assert site.metric("gateway_degraded") == 0
    pid = store_pid(site)
    os.kill(pid, signal.SIGSTOP)
    try:
        served_without_the_store(site)
        answer = site.chat("chat", max_tokens=1)
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: site.metric("gateway_degraded") == 0, "recovery by itself")
    assert site.receipt(answer)["outcome"] == "local", "receipts made meanwhile are filed afterwards"
    eventually(lambda: site.leases("chat") == 0 and site.leases("tight") == 0, "the store knows the truth again")
    assert site.chat("tight").headers["x-gateway-outcome"] == "local"
    assert "store recovered" in site.logged()


def test_a_store_that_dies(site: Site) -> None:
    os.kill(store_pid(site), signal.SIGKILL)
    eventually(lambda: site.metric("gateway_degraded") == 1, "degraded mode")
    flagged = [site.chat("chat", LOCAL) for _ in range(5)]
    assert {(answer.status_code, answer.headers["x-gateway-outcome"]) for answer in flagged} == {(200, "local")}
    eventually(lambda: site.metric("gateway_degraded") == 0, "the store is started again", within=10)
    assert site.receipt(flagged[-1])["outcome"] == "local", "receipts made meanwhile are filed afterwards"
    eventually(lambda: site.leases("chat") == 0, "the store knows the truth again")
    site.quiet()
