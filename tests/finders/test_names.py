"""Workers by DNS: what a real server answers, and what becomes of answers that lack somebody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from dns.asyncresolver import Resolver
from dns.resolver import NoResolverConfiguration

from gateway.finders import names
from gateway.finders.names import (
    KEEP_SECONDS,
    NOBODY,
    LookupFailed,
    Lookups,
    MakeResolver,
    Steady,
    follow,
    look_up,
    look_up_srv,
)
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
    assert (await look_up(Lookups(server.resolver), "gpu", DNS)).members == {
        one("10.0.0.1"),
        one("10.0.0.2"),
        one("fd00::1"),
    }
    server.records = {A: ["10.0.0.1"]}
    assert (await look_up(Lookups(server.resolver), "gpu", DNS)).members == {one("10.0.0.1")}
    server.records = {}
    assert (await look_up(Lookups(server.resolver), "gpu", DNS)).members == frozenset()


async def test_every_srv_target_is_a_worker_with_all_its_addresses(server: NameServer) -> None:
    server.records = {
        ("_vllm._tcp.test", "SRV"): ["0 1 8001 a.test.", "10 1 8002 b.test.", "0 1 9 gone.test.", "0 0 0 ."],
        ("a.test", "A"): ["10.0.0.1"],
        ("a.test", "AAAA"): ["fd00::1"],
        ("b.test", "A"): ["10.0.0.2"],
    }
    assert (await look_up_srv(Lookups(server.resolver), "gpu", SRV)).members == {
        Member("gpu", "srv", "http://10.0.0.1:8001", ("10.0.0.1", "fd00::1"), 8001),
        Member("gpu", "srv", "http://10.0.0.2:8002", ("10.0.0.2",), 8002),
    }
    secure = (await look_up_srv(Lookups(server.resolver), "gpu", Source(srv=SRV.srv, https=True))).members
    assert {member.url for member in secure} == {"https://a.test:8001", "https://b.test:8002"}


async def test_more_addresses_than_fit_are_the_same_ones_for_everybody(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "MOST_FOUND", 2)
    server.records = {A: ["10.0.0.3", "10.0.0.1", "10.0.0.2"]}
    assert (await look_up(Lookups(server.resolver), "gpu", DNS)).members == {one("10.0.0.1"), one("10.0.0.2")}


@pytest.mark.parametrize("fault", ["failing", "silent"])
async def test_a_server_that_cannot_answer_is_not_an_empty_answer(
    server: NameServer, fault: str, hurried: None
) -> None:
    server.records = {A: ["10.0.0.1"]}
    setattr(server, fault, True)
    with pytest.raises(LookupFailed) as raised:
        await look_up(Lookups(server.resolver), "gpu", DNS)
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
async def following(
    server: NameServer, source: Source = DNS, make: MakeResolver | None = None
) -> AsyncIterator[Report]:
    report = Report(lambda: None)
    task = asyncio.create_task(follow("gpu", source, report, make or server.resolver))
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


TARGETS = {
    ("_vllm._tcp.test", "SRV"): ["0 1 8001 a.test.", "0 1 8002 b.test."],
    ("a.test", "A"): ["10.0.0.1"],
    ("b.test", "A"): ["10.0.0.2"],
}


def hosts(members: frozenset[Member]) -> set[str]:
    return {address for member in members for address in member.addresses}


async def test_one_target_that_cannot_be_looked_up_stays_where_it_was_and_harms_no_other(server: NameServer) -> None:
    server.records, lookups = dict(TARGETS), Lookups(server.resolver)
    assert hosts((await look_up_srv(lookups, "gpu", SRV)).members) == {"10.0.0.1", "10.0.0.2"}
    server.broken = {("a.test", "A"), ("a.test", "AAAA")}
    server.records["b.test", "A"] = ["10.0.0.3"]
    found, fault = await look_up_srv(lookups, "gpu", SRV)
    assert hosts(found) == {"10.0.0.1", "10.0.0.3"}
    assert fault is not None
    assert "(1 of 2 targets)" in fault
    assert hosts((await look_up_srv(Lookups(server.resolver), "gpu", SRV)).members) == {"10.0.0.3"}, "never known"


async def test_a_target_that_cannot_be_looked_up_for_long_is_dropped_alone(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.records, lookups = dict(TARGETS), Lookups(server.resolver)
    await look_up_srv(lookups, "gpu", SRV)
    server.broken = {("a.test", "A"), ("a.test", "AAAA")}
    monkeypatch.setattr(names, "KEEP_SECONDS", 0.0)
    assert hosts((await look_up_srv(lookups, "gpu", SRV)).members) == {"10.0.0.2"}
    server.broken |= {("b.test", "A"), ("b.test", "AAAA")}
    with pytest.raises(LookupFailed):
        await look_up_srv(lookups, "gpu", SRV)


async def test_one_family_that_cannot_be_looked_up_is_no_failure(server: NameServer) -> None:
    server.records, server.broken, lookups = {A: ["10.0.0.1"], AAAA: ["fd00::1"]}, {AAAA}, Lookups(server.resolver)
    assert await look_up(lookups, "gpu", DNS) == (frozenset({one("10.0.0.1")}), None)
    server.broken = set()
    assert len((await look_up(lookups, "gpu", DNS)).members) == 2
    server.broken = {AAAA}
    assert len((await look_up(lookups, "gpu", DNS)).members) == 2, "the last answer of the other stands in"
    server.records, lookups = {("workers.test", "TXT"): ["x"]}, Lookups(server.resolver)
    with pytest.raises(LookupFailed):
        await look_up(lookups, "gpu", DNS)


async def test_many_targets_are_looked_up_a_few_at_a_time_and_each_host_once(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "MOST_AT_ONCE", 4)
    many = {(f"h{number}.test", "A"): [f"10.0.1.{number}"] for number in range(40)}
    records = [f"0 1 {port} h{number}.test." for number in range(40) for port in (8001, 8002)]
    server.records = {("_vllm._tcp.test", "SRV"): records, **many}
    resolver = Counting(server.resolver())
    assert len((await look_up_srv(Lookups(lambda: resolver), "gpu", SRV)).members) == 80  # type: ignore[arg-type,return-value]
    assert resolver.asked == 1 + 2 * 40
    assert resolver.most <= 4


class Counting:
    """A resolver, and how many of its lookups run at once."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self.asked = self.now = self.most = 0

    async def resolve(self, *asked: Any, **how: Any) -> Any:
        self.asked, self.now = self.asked + 1, self.now + 1
        self.most = max(self.most, self.now)
        try:
            return await self._resolver.resolve(*asked, **how)
        finally:
            self.now -= 1


async def test_a_round_ends_in_time(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "MOST_AT_ONCE", 1)
    monkeypatch.setattr(names, "ROUND_SECONDS", 0.2)
    server.records, lookups, loop = dict(TARGETS), Lookups(server.resolver), asyncio.get_running_loop()
    lookups.begin()
    server.silent, began = True, loop.time()
    told = await asyncio.gather(*(lookups.addresses(f"h{n}.test") for n in range(20)), return_exceptions=True)
    assert {type(one) for one in told} == {LookupFailed}
    assert loop.time() - began < 1.0


async def test_a_name_that_never_had_an_address_is_a_fault(server: NameServer, hurried: None) -> None:
    async with following(server) as report:
        await until(lambda: report.fault == NOBODY)
        server.records = {A: ["10.0.0.1"]}
        await until(lambda: bool(report.members))
        await until(lambda: report.fault is None)
        server.records = {}
        await until(lambda: not report.members)
        assert report.fault is None, "a fleet may be scaled to nobody"


async def test_a_system_without_resolvers_is_told(server: NameServer, hurried: None) -> None:
    def make() -> Resolver:
        if not server.failing:
            return server.resolver()
        raise NoResolverConfiguration

    server.records, server.failing = {A: ["10.0.0.1"]}, True
    async with following(server, make=make) as report:
        await until(lambda: "/etc/resolv.conf" in (report.fault or ""))
        server.failing = False
        await until(lambda: bool(report.members))
