"""`gateway serve --workers 3`: three processes behave as one gateway, and none leaves anything behind."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
import redis

from gateway.fleet.probes import INTERVAL_SECONDS
from gateway.fleet.readings import CLAIM_MS
from loadtests.stack import DEMO_POLICIES, start_gateway
from tests.gateways import KEY, Lane, Site, chat_body, eventually, serve
from tests.processes import children, connected_to, gone, serving

SEATS, MANY = 8, 16
"""MANY: connections after which it would be a wonder if one process had got them all."""
AMPLE = {"limit_work_s": 1e6}
"""Only the seats are a limit."""
LANES = [Lane("chat", seats=SEATS, cloud=False, route={"max_wait": 0}, worker=AMPLE), Lane("idle", cloud=False)]
PROCESSES = 3
ENV = {"GATEWAY_WORKERS": str(PROCESSES)}
RELOAD_SECONDS = 2.0
SLACK_SECONDS = 0.5
"""For a busy machine, where a promise is about time."""
SHORT = httpx.Timeout(1.0)


@pytest.fixture
def anybody(site: Site) -> Iterator[httpx.Client]:
    """A client whose every request is a connection of its own, and so may be answered by any process."""
    limits = httpx.Limits(max_keepalive_connections=0)
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=site.gateway.url, headers=headers, trust_env=False, timeout=20, limits=limits) as client:
        yield client


def chat(client: httpx.Client) -> httpx.Response:
    return client.post("/v1/chat/completions", json=chat_body("chat"))


def figure(page: str, name: str) -> float:
    return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(name))


def test_every_page_is_the_sum_of_all_processes(site: Site, anybody: httpx.Client) -> None:
    eventually(lambda: site.metric("gateway_processes") == PROCESSES, "all processes are there")
    before = site.metric("gateway_requests_total") or 0
    assert {chat(anybody).status_code for _ in range(MANY)} == {200}
    eventually(lambda: site.metric("gateway_requests_in_flight") == 0, "all is counted")
    pages = [anybody.get("/metrics").text for _ in range(MANY)]
    assert {figure(page, "gateway_requests_total") for page in pages} == {before + MANY}
    assert {figure(page, "gateway_duration_seconds_count") for page in pages} == {before + MANY}
    assert {figure(page, "gateway_processes ") for page in pages} == {PROCESSES}


def test_limits_are_shared(site: Site, anybody: httpx.Client) -> None:
    with ExitStack() as stack:
        opened = [stack.enter_context(site.stream("chat", max_tokens=600, ignore_eos=True)) for _ in range(SEATS)]
        assert {answer.status_code for answer, _ in opened} == {200}
        site.fleet.wait("chat-1", lambda state: state["running"] == SEATS)
        assert {chat(anybody).status_code for _ in range(MANY)} == {429}
        with redis.Redis(unix_socket_path=str(site.data / "store.sock")) as store:
            leases: dict[bytes, bytes] = store.hgetall("gw:{chat}:leases")  # type: ignore[assignment]
        assert len(leases) == SEATS
        assert len({name.partition(b":")[0] for name in leases}) > 1, "of several processes"
    site.quiet("chat")


def test_a_receipt_is_found_by_whoever_is_asked(site: Site, anybody: httpx.Client) -> None:
    answers = []
    for _ in range(8):
        made = chat(anybody).headers["x-request-id"]
        answers.append(anybody.get(f"/v1/gateway/receipts/{made}").status_code)
    assert answers == [200] * 8


def test_all_move_to_a_new_policy_within_two_seconds(site: Site, anybody: httpx.Client) -> None:
    before = chat(anybody).headers["x-gateway-policy"]
    path = site.folder / "models.yaml"
    path.write_text(path.read_text() + "\n# a comment changes the version, or the test says that it does not\n")
    routing = site.folder / "routing.yaml"
    routing.write_text(routing.read_text().replace('"max_wait": "20s"', '"max_wait": "19s"'))

    def all_moved() -> bool:
        return before not in {chat(anybody).headers["x-gateway-policy"] for _ in range(MANY)}

    eventually(all_moved, "every process has the new policy", RELOAD_SECONDS + SLACK_SECONDS)


def test_each_worker_is_scraped_once_not_by_each_process(site: Site) -> None:
    began, before = time.monotonic(), scrapes(site)
    site.fleet.wait("idle-1", lambda state: state["scrapes"] >= before["idle-1"] + 4)
    after, seconds = scrapes(site), time.monotonic() - began
    for name in before:
        assert after[name] - before[name] <= seconds / INTERVAL_SECONDS + 1, "as often as by one process"


def scrapes(site: Site) -> dict[str, int]:
    return {worker.name: site.fleet.state(worker.name)["scrapes"] for worker in site.fleet.workers}


def test_a_silent_process_is_left_out_of_the_page_but_not_out_of_the_counts(site: Site, anybody: httpx.Client) -> None:
    before = figure(anybody.get("/metrics").text, "gateway_requests_total")
    processes = serving(site.gateway.pid)
    scrapers = connected_to(next(worker for worker in site.fleet.workers if worker.name == "idle-1").port, processes)
    stopped = next(pid for pid in processes if pid not in scrapers)  # or else another would take its workers over
    os.kill(stopped, signal.SIGSTOP)

    def page() -> str | None:
        with suppress(httpx.TimeoutException):  # it was the silent one that was to answer
            return anybody.get("/metrics", timeout=SHORT).text
        return None

    try:
        text = eventually(page, "a page of the others", 10)
    finally:
        os.kill(stopped, signal.SIGCONT)
    assert figure(text, "gateway_processes ") == PROCESSES - 1
    assert figure(text, "gateway_requests_total") == before
    eventually(lambda: site.metric("gateway_processes") == PROCESSES, "it is back")


def test_the_one_that_scrapes_is_killed(site: Site) -> None:
    """Its workers are scraped again soon, it is replaced, and no count goes backwards."""
    idle = next(worker for worker in site.fleet.workers if worker.name == "idle-1")
    counted = site.metric("gateway_requests_total")
    assert counted
    (scraper,) = connected_to(idle.port, serving(site.gateway.pid))
    before = scrapes(site)["idle-1"]
    os.kill(scraper, signal.SIGKILL)
    killed_at = time.monotonic()
    within = CLAIM_MS / 1000 + INTERVAL_SECONDS / 2 + SLACK_SECONDS
    # One scrape may have been on its way.
    site.fleet.wait("idle-1", lambda state: state["scrapes"] > before + 1, within + INTERVAL_SECONDS)
    assert time.monotonic() - killed_at <= within + INTERVAL_SECONDS

    with httpx.Client(base_url=site.gateway.url, trust_env=False, timeout=20) as client:
        page = client.get("/metrics").text
        assert figure(page, "gateway_requests_total") == counted
        eventually(lambda: figure(client.get("/metrics").text, "gateway_processes ") == PROCESSES, "a new one", 20)
        assert figure(client.get("/metrics").text, "gateway_requests_total") == counted
    assert "a process ended; starting it again" in site.logged()


def test_a_hangup_has_every_process_read_the_policy_anew(site: Site) -> None:
    before = site.logged().count("policy folder read anew")
    processes = serving(site.gateway.pid)
    site.gateway.process.send_signal(signal.SIGHUP)
    eventually(lambda: site.logged().count("policy folder read anew") == before + PROCESSES, "all have read it")
    assert serving(site.gateway.pid) == processes


@pytest.mark.parametrize(("number", "processes"), [(signal.SIGTERM, 2), (signal.SIGTERM, 1)])
def test_a_signal_lets_running_requests_finish_and_leaves_nothing(
    tmp_path: Path, number: signal.Signals, processes: int
) -> None:
    lane = Lane("chat", cloud=False)
    with serve(tmp_path, [lane], {"GATEWAY_WORKERS": str(processes)}) as site:
        all_of_them = children(site.gateway.pid)
        assert len(all_of_them) == 1 + (processes if processes > 1 else 0)
        with site.stream("chat", max_tokens=150, ignore_eos=True) as (_, lines):
            next(lines)
            site.gateway.process.send_signal(number)
            assert list(lines)[-1] == "[DONE]"
        assert site.gateway.process.wait(10) == 0
        assert all(gone(pid) for pid in all_of_them)


def test_a_stream_that_outlives_the_grace_of_a_shutdown_ends_with_an_error(tmp_path: Path) -> None:
    with serve(tmp_path, [Lane("chat", cloud=False)], {"GATEWAY_GRACE_SECONDS": "1"}) as site:
        with site.stream("chat", max_tokens=4000, ignore_eos=True) as (_, lines):
            next(lines)
            site.gateway.process.terminate()
            assert json.loads(list(lines)[-1])["error"]["code"] == "shutting_down"
        site.gateway.process.wait(10)


def test_nothing_stays_behind_a_parent_that_was_killed(tmp_path: Path) -> None:
    with start_gateway(DEMO_POLICIES, tmp_path / "data", env={"GATEWAY_WORKERS": "2"}) as gateway:
        all_of_them = children(gateway.pid)
        assert len(all_of_them) == 3
        gateway.kill()
        eventually(lambda: all(gone(pid) for pid in all_of_them), "all have ended")
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{gateway.url}/healthz", trust_env=False)
