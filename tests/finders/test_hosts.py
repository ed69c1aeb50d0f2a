"""Host names in threads of their own: who is slow holds nobody up."""

from __future__ import annotations

import asyncio
import threading

import pytest

from gateway.finders import hosts
from gateway.finders.hosts import Hosts
from tests.polling import until


async def test_where_a_name_leads() -> None:
    made = Hosts()
    assert "127.0.0.1" in await made.addresses_of("localhost")
    assert await made.addresses_of("no-such-host.invalid") == frozenset()
    assert await made.addresses_of("x" * 70 + ".test") == frozenset()
    assert not made._running


async def test_one_that_is_slow_is_given_up_and_holds_one_thread_however_often_it_is_asked_for(
    slow: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "SECONDS", 0.1)
    made = Hosts()
    beats = [made.addresses_of("a.slow") for _ in range(10 * hosts.THREADS)]
    told = await asyncio.gather(*beats, return_exceptions=True)
    assert {type(one) for one in told} == {TimeoutError}
    monkeypatch.setattr(hosts, "SECONDS", 5.0)
    assert "127.0.0.1" in await made.addresses_of("localhost")
    assert made._running.keys() == {"a.slow"}
    slow.set()
    await until(lambda: not made._running)


async def test_the_threads_of_connections_are_free(slow: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "SECONDS", 0.05)
    monkeypatch.setattr(hosts, "MOST_WAITING", 50)
    made, loop = Hosts(), asyncio.get_running_loop()
    await asyncio.gather(*(made.addresses_of(f"h{n}.slow") for n in range(100)), return_exceptions=True)
    assert len(made._running) == 50
    async with asyncio.timeout(5):
        await loop.getaddrinfo("localhost", None)
