"""Three processes and what they have counted: no sum falls, and nothing is counted twice, however one of them ends."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest

from gateway.cli.workers import ASK_SECONDS
from loadtests.stack import DEMO_POLICIES, Gateway, start_gateway
from tests.gateways import chat_body, eventually
from tests.processes import gone, serving

PROCESSES, MANY, SCRAPERS = 3, 30, 6
SHORT = 1.0
"""Seconds; a page that takes longer was asked of the process that is stopped, and never comes."""


class Counting:
    """A gateway of three processes whose requests all fail, each over a connection of its own."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def ask(self, number: int = MANY) -> None:
        for _ in range(number):
            httpx.post(f"{self.gateway.url}/v1/chat/completions", json=chat_body("no-such-model"), trust_env=False)

    def scrape(self, timeout: float = 10) -> httpx.Response:
        return httpx.get(f"{self.gateway.url}/metrics", trust_env=False, timeout=timeout)

    def counted(self, timeout: float = 10) -> float:
        page = self.scrape(timeout)
        assert page.status_code == httpx.codes.OK
        return sum(
            float(line.split()[-1]) for line in page.text.splitlines() if line.startswith("gateway_errors_total")
        )

    def end_one(self, number: signal.Signals) -> None:
        before = serving(self.gateway.pid)
        os.kill(before[0], number)
        eventually(lambda: gone(before[0]), "it has ended")

    def complete(self) -> None:
        eventually(lambda: f"gateway_processes {PROCESSES}.0" in self.scrape().text, "all are there", 20)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    data = tmp_path_factory.mktemp("several") / "data"
    with start_gateway(DEMO_POLICIES, data, env={"GATEWAY_WORKERS": str(PROCESSES)}) as started:
        yield started


@pytest.fixture
def counting(gateway: Gateway) -> Counting:
    """Whoever was ended by the test before has been replaced, and some are counted."""
    made = Counting(gateway)
    made.complete()
    made.ask()
    return made


def test_processes_that_die_while_a_page_is_made_count_once(counting: Counting) -> None:
    """One after it has answered, another instead of answering."""
    expected, seen = counting.counted(), list[float]()
    silent, talking, _ = serving(counting.gateway.pid)
    os.kill(silent, signal.SIGSTOP)

    def scrape_on() -> None:
        for _ in range(8):
            with suppress(httpx.TransportError):  # it was the silent one that was to answer
                seen.append(counting.counted(SHORT))

    with ThreadPoolExecutor(SCRAPERS) as threads:
        done = [threads.submit(scrape_on) for _ in range(SCRAPERS)]
        eventually(lambda: seen, "the first page, and the next ones are asked for")
        os.kill(talking, signal.SIGKILL)
        enough = len(seen) + SCRAPERS
        eventually(lambda: len(seen) >= enough, "and once more")
        os.kill(silent, signal.SIGKILL)
    assert [each.exception() for each in done] == [None] * SCRAPERS
    assert set(seen) == {expected}


def test_what_was_counted_since_the_last_page_is_kept(counting: Counting) -> None:
    before = counting.counted()
    counting.ask()
    counting.end_one(signal.SIGTERM)
    assert counting.counted() == before + MANY, "of one that ended in peace all"
    counting.complete()
    counting.ask()
    time.sleep(1.5 * ASK_SECONDS)  # no page is asked for: that is what the test is about
    counting.end_one(signal.SIGKILL)
    assert counting.counted() == before + 2 * MANY, "of one that was killed all but the last second"


def test_while_the_parent_is_silent_there_is_no_page(counting: Counting) -> None:
    before = counting.counted()
    os.kill(counting.gateway.pid, signal.SIGSTOP)
    try:
        assert counting.scrape().status_code == httpx.codes.SERVICE_UNAVAILABLE
    finally:
        os.kill(counting.gateway.pid, signal.SIGCONT)
    assert counting.counted() == before


def test_connections_wait_when_all_have_died_young(counting: Counting) -> None:
    processes = serving(counting.gateway.pid)
    for pid in processes:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: all(map(gone, processes)), "all are dead")
    assert httpx.get(f"{counting.gateway.url}/healthz", trust_env=False, timeout=10).status_code == httpx.codes.OK
