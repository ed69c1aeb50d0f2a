"""Two processes, and what is true in one of them: whichever is asked tells it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.gateways import KEY, Lane, Site, chat_body, eventually, serve

LANES = [Lane("queue", seats=1, cloud=False, route={"max_wait": "90s"}), Lane("ill", cloud=False)]
ASKED, SCRAPES = 9, 12
"""Connections go to either process by chance: that all of one kind went to the same is as likely as 2 in 2 ** 9."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serve(tmp_path_factory.mktemp("two"), LANES, {"GATEWAY_WORKERS": "2"}) as made:
        eventually(lambda: made.metric("gateway_processes") == 2, "both are there", 30)
        yield made


def scraped(site: Site, name: str) -> set[float]:
    """The values of one metric on many pages, each asked for over a connection of its own."""
    found = set[float]()
    for _ in range(SCRAPES):
        page = httpx.get(f"{site.http.base_url}/metrics", trust_env=False).text
        found |= {float(line.split()[-1]) for line in page.splitlines() if line.startswith(name)}
    return found


def post(site: Site, model: str, timeout: float) -> None:
    url, headers = f"{site.http.base_url}/v1/chat/completions", {"Authorization": f"Bearer {KEY}"}
    httpx.post(url, json=chat_body(model), headers=headers, trust_env=False, timeout=timeout)


def test_those_who_wait_are_counted_over_all_processes(site: Site) -> None:
    waiting = 'gateway_waiting{backend="queue"}'
    with ThreadPoolExecutor(ASKED) as threads, site.occupied("queue"):
        asked = [threads.submit(post, site, "queue", 60) for _ in range(ASKED)]
        eventually(lambda: scraped(site, waiting) == {ASKED}, "every page has all of them", 20)
        assert scraped(site, "gateway_requests_in_flight") == {ASKED + 1}
    assert [one.exception() for one in asked] == [None] * ASKED
    eventually(lambda: scraped(site, waiting) == {0}, "nobody waits")


def test_a_breaker_that_is_open_in_one_process_is_open_on_every_page(site: Site) -> None:
    breaker = 'gateway_upstream_breaker{backend="ill",upstream="ill-1"}'
    assert scraped(site, breaker) == {0}
    site.fleet.config("ill-1", error_rate=1.0)
    with httpx.Client(base_url=site.http.base_url, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False) as one:

        def broken() -> bool:  # over one connection: only its process comes to know
            one.post("/v1/chat/completions", json=chat_body("ill"))
            return scraped(site, breaker) in ({1}, {2}, {1, 2})

        eventually(broken, "the breaker is open", 30)
    seen = scraped(site, breaker)
    assert seen
    assert seen <= {1, 2}
    assert scraped(site, 'gateway_upstream_up{backend="ill",upstream="ill-1"}') == {1}, "the other process uses it"
