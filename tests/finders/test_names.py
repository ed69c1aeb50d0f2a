"""Workers by DNS: what a real server answers, and what becomes of answers that lack somebody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from gateway.finders import names
from gateway.finders.names import KEEP_SECONDS, LookupFailed, Steady, follow, look_up, look_up_srv
from gateway.finders.report import Report
from gateway.model import Member, Source
from tests.finders.nameserver import NameServer, name_server
from tests.polling import until

DNS = Source(dns="workers.test", port=8000)
SRV = Source(srv="_vllm._tcp.test")
A, AAAA = ("workers.test", "A"), ("workers.test", "AAAA")


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    async with name_server() as running:
        yield running


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rules, faster."""
    monkeypatch.setattr(names, "ASK_SECONDS", 0.05)
    monkeypatch.setattr(names, "CONFIRM_SECONDS", 0.02)
    monkeypatch.setattr(names, "LOOKUP_SECONDS", 0.2)


def one(address: str, port: int = 8000) -> Member:
    shown = f"[{address}]" if ":" in address else address
    return Member("gpu", "dns", f"http://{shown}:{port}", (address,), port)


async def test_every_address_is_a_worker(server: NameServer) -> None:
    server.records = {A: ["10.0.0.2", "10.0.0.1"], AAAA: ["fd00::1"]}
    assert await look_up(server.resolver(), "gpu", DNS) == {one("10.0.0.1"), one("10.0.0.2"), one("fd00::1")}
    server.records = {A: ["10.0.0.1"]}
    assert await look_up(server.resolver(), "gpu", DNS) == {one("10.0.0.1")}
    server.records = {}
    assert await look_up(server.resolver(), "gpu", DNS) == frozenset()


async def test_every_srv_target_is_a_worker_with_all_its_addresses(server: NameServer) -> None:
    server.records = {
        ("_vllm._tcp.test", "SRV"): ["0 1 8001 a.test.", "10 1 8002 b.test.", "0 1 9 gone.test.", "0 0 0 ."],
        ("a.test", "A"): ["10.0.0.1"],
        ("a.test", "AAAA"): ["fd00::1"],
        ("b.test", "A"): ["10.0.0.2"],
    }
    assert await look_up_srv(server.resolver(), "gpu", SRV) == {
        Member("gpu", "srv", "http://10.0.0.1:8001", ("10.0.0.1", "fd00::1"), 8001),
        Member("gpu", "srv", "http://10.0.0.2:8002", ("10.0.0.2",), 8002),
    }
    secure = await look_up_srv(server.resolver(), "gpu", Source(srv=SRV.srv, https=True))
    assert {member.url for member in secure} == {"https://a.test:8001", "https://b.test:8002"}


async def test_more_addresses_than_fit_are_the_same_ones_for_everybody(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "MOST_FOUND", 2)
    server.records = {A: ["10.0.0.3", "10.0.0.1", "10.0.0.2"]}
    assert await look_up(server.resolver(), "gpu", DNS) == {one("10.0.0.1"), one("10.0.0.2")}


@pytest.mark.parametrize("fault", ["failing", "silent"])
async def test_a_server_that_cannot_answer_is_not_an_empty_answer(
    server: NameServer, fault: str, hurried: None
) -> None:
    server.records = {A: ["10.0.0.1"]}
    setattr(server, fault, True)
    with pytest.raises(LookupFailed) as raised:
        await look_up(server.resolver(), "gpu", DNS)
    assert "127.0.0.1" not in str(raised.value)


def test_who_is_missing_once_stays_and_who_is_missing_twice_has_gone() -> None:
    steady, (x, y) = Steady(0.0), (one("10.0.0.1"), one("10.0.0.2"))
    assert steady.answered(frozenset({x, y}), 1.0) == {x, y}
    assert not steady.unsure
    assert steady.answered(frozenset({x}), 2.0) == {x, y}
    assert steady.unsure
    assert steady.answered(frozenset({x, y}), 2.3) == {x, y}
    assert not steady.unsure
    assert steady.answered(frozenset(), 3.0) == {x, y}
    assert steady.answered(frozenset(), 3.3) == frozenset()


def test_the_last_answer_holds_for_a_while_where_none_comes() -> None:
    steady = Steady(0.0)
    steady.answered(frozenset({one("10.0.0.1")}), 10.0)
    assert steady.failed(10.0 + KEEP_SECONDS) == {one("10.0.0.1")}
    assert steady.failed(10.1 + KEEP_SECONDS) == frozenset()


@asynccontextmanager
async def following(server: NameServer) -> AsyncIterator[Report]:
    report = Report(lambda: None)
    task = asyncio.create_task(follow("gpu", DNS, report, server.resolver))
    try:
        yield report
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextmanager
def never_empty(report: Report) -> Iterator[None]:
    """Within the block nobody is lost, not for a moment."""
    seen: list[frozenset[Member]] = []
    report.changed = lambda: seen.append(report.members)
    yield
    assert all(seen)


async def test_a_name_is_followed_through_failures(server: NameServer, hurried: None) -> None:
    server.records = {A: ["10.0.0.1"]}
    async with following(server) as report:
        await until(lambda: report.members == {one("10.0.0.1")})
        server.records = {A: ["10.0.0.1", "10.0.0.2"]}
        await until(lambda: len(report.members) == 2)
        server.records = {A: ["10.0.0.2"]}
        await until(lambda: report.members == {one("10.0.0.2")})
        for fault in ("failing", "silent"):
            with never_empty(report):
                setattr(server, fault, True)
                await until(lambda: report.fault is not None)
                server.asked = 0
                await until(lambda: server.asked > 4)
                setattr(server, fault, False)
                await until(lambda: report.fault is None)
        server.records = {}
        await until(lambda: not report.members)


async def test_a_change_is_noticed_within_two_seconds_at_the_usual_pace(server: NameServer) -> None:
    loop = asyncio.get_running_loop()
    server.records = {A: ["10.0.0.1"]}
    async with following(server) as report:
        await until(lambda: bool(report.members))
        asked = server.asked
        await until(lambda: server.asked > asked + 1)  # just asked: the worst moment for a change
        server.records, began = {A: ["10.0.0.2"]}, loop.time()
        await until(lambda: report.members == {one("10.0.0.2")})
        assert loop.time() - began < 2.0
