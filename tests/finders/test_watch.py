"""Which finders run: one for each source of the policy in force, and none of another."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from gateway.errors import extra
from gateway.finders import names, watch
from gateway.finders.watch import Finders, missing_extra
from gateway.model import Discovery, Policy, Source
from tests.finders.nameserver import name_server
from tests.polling import until
from tests.worlds import policy, upstream

HOME = "localhost"


def looking(*sources: Source, url: str = "http://10.0.0.1:8000") -> Policy:
    made = policy((upstream("w1", "gpu", url=url),))
    return replace(made, discovery={"gpu": Discovery(sources, upstream("", "gpu"))} if sources else {})


@asynccontextmanager
async def running(finders: Finders) -> AsyncIterator[Finders]:
    task = asyncio.create_task(finders.run())
    try:
        yield finders
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_sources_come_and_go_with_the_policy() -> None:
    a, b = Source(dns="a.test", port=1), Source(dns="b.test", port=2)
    current, changes = looking(a), list[int]()
    async with name_server() as server:
        server.records = {("a.test", "A"): ["10.0.0.7"], ("b.test", "A"): ["10.0.0.8"]}
        finders = Finders(lambda: current, lambda: changes.append(1), server.resolver)
        async with running(finders):
            await until(lambda: [one.url for one in finders.members] == ["http://10.0.0.7:1"])
            current = looking(a, b)
            finders.keep(current)
            await until(lambda: len(finders.members) == 2)
            current = looking(b)
            finders.keep(current)
            await until(lambda: [one.url for one in finders.members] == ["http://10.0.0.8:2"])
            server.failing = True
            await until(lambda: "gpu: dns b.test" in finders.faults)
            assert len(finders.members) == 1
            current = looking()
            finders.keep(current)
            await until(lambda: finders.members == () and finders.faults == {})
    assert changes


async def test_who_was_found_stays_while_all_finders_begin_anew() -> None:
    async with name_server() as server:
        server.records = {("a.test", "A"): ["10.0.0.7"]}
        finders = Finders(lambda: looking(Source(dns="a.test", port=1)), lambda: None, server.resolver)
        async with running(finders):
            await until(lambda: len(finders.members) == 1)
        server.failing = True
        async with running(finders):
            await until(lambda: bool(finders.faults))
            assert len(finders.members) == 1


async def test_a_finder_that_breaks_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "RESTART_SECONDS", 0.01)
    begun = 0

    async def follow(*_: Any, **__: Any) -> None:
        nonlocal begun
        begun += 1
        raise ZeroDivisionError

    monkeypatch.setattr(names, "follow", follow)
    finders = Finders(lambda: looking(Source(dns="a.test", port=1)), lambda: None)
    async with running(finders):
        await until(lambda: begun > 2)
        assert finders.faults == {"gpu: dns a.test": "it failed; the log of the gateway has the place"}


async def test_host_names_of_the_policys_own_workers_are_looked_up_first() -> None:
    finders = Finders(lambda: looking(Source(registration=True), url=f"http://{HOME}:8000"), lambda: None)
    async with running(finders):
        await until(lambda: HOME in finders.homes)
    assert "127.0.0.1" in finders.homes[HOME]


async def test_one_slow_host_name_hides_no_other(slow: threading.Event) -> None:
    made = policy((upstream("w1", "gpu", url=f"http://{HOME}:8000"), upstream("w2", "gpu", url="http://a.slow:8000")))
    made = replace(made, discovery={"gpu": Discovery((Source(registration=True),), upstream("", "gpu"))})
    finders = Finders(lambda: made, lambda: None)
    async with running(finders):
        await until(lambda: HOME in finders.homes)
        assert not slow.is_set()
        assert not finders.homes.get("a.slow")


def test_a_source_without_its_client_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    for source in (Source(service="a/b"), Source(pool="a/b")):
        assert missing_extra(looking(source)) is None
        with monkeypatch.context() as without:
            without.setattr(watch, "find_spec", lambda _: None)
            said = missing_extra(looking(source))
            assert said is not None
            assert extra("kubernetes") in said
            assert missing_extra(looking(Source(dns="a.test", port=1))) is None
