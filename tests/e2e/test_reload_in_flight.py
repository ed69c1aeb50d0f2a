"""A request keeps the policy that it began with: while it waits for room, and through a retry."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.gateways import LOCAL, Lane, Site, eventually

LANES = [
    Lane("chat", seats=1),
    Lane("again", route={"timeouts": {"first_byte": "2s"}, "fallback": ["again-api"]}),
]
RELOAD_SECONDS = 2.0


def rename_rules(site: Site, suffix: str) -> None:
    path = site.folder / "routing.yaml"
    content = json.loads(path.read_text())
    for rule in content["rules"]:
        rule["name"] += suffix
    path.write_text(json.dumps(content))


def moved(site: Site, before: str) -> None:
    def version() -> str:
        told: str = site.chat("chat").headers["x-gateway-policy"]
        return told

    eventually(lambda: version() != before, "the new policy", RELOAD_SECONDS)


def decided(answer: httpx.Response) -> tuple[str, str]:
    return answer.headers["x-gateway-policy"], answer.headers["x-gateway-rule"]


def test_one_that_waits_for_room(site: Site) -> None:
    with ThreadPoolExecutor(1) as pool:
        with site.occupied("chat"):
            before = site.chat("chat").headers["x-gateway-policy"]
            waiting = pool.submit(site.chat, "chat", LOCAL)
            eventually(lambda: (site.metric("gateway_requests_in_flight") or 0) >= 2, "it waits")
            rename_rules(site, "-x")
            moved(site, before)
            assert not waiting.done()
        answer = waiting.result(10)
    assert answer.status_code == 200
    assert decided(answer) == (before, "chat-flagged")
    assert site.receipt(answer)["policy"] == before
    assert decided(site.chat("chat", LOCAL))[1] == "chat-flagged-x"


def test_one_that_is_tried_again(site: Site) -> None:
    before = site.chat("chat").headers["x-gateway-policy"]
    rule = site.chat("again").headers["x-gateway-rule"]
    site.fleet.config("again-1", hang=True)
    with ThreadPoolExecutor(1) as pool:
        retried = pool.submit(site.chat, "again")
        eventually(lambda: site.leases("again") == 1, "its worker is asked")
        rename_rules(site, "-y")
        moved(site, before)
        assert not retried.done()
        answer = retried.result(10)
    assert answer.headers["x-gateway-outcome"] == "fallback"
    assert decided(answer) == (before, rule)
    assert [attempt["result"] for attempt in site.receipt(answer)["attempts"]] == ["UpstreamTimeout", "answered"]
