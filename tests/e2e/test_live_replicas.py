"""Two gateways on one store: what either of them did, and does, is in the feed of both."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store.embedded import Embedded
from tests.gateways import Lane, Site, gateway_on, start_lanes
from tests.live_feed import looking

LANES = [Lane("chat", workers=2)]
SEEN_SECONDS = 2.0
STOP_SECONDS = 5.0


@pytest.fixture
def pair(own_server: Embedded, tmp_path: Path) -> Iterator[tuple[Site, Site]]:
    env = {"GATEWAY_REDIS_URL": own_server.url}
    with start_lanes(LANES) as fleet, contextlib.ExitStack() as stack:
        first, second = (stack.enter_context(gateway_on([fleet], LANES, tmp_path / name, env)) for name in "ab")
        yield first, second


def test_both_tell_of_both(pair: tuple[Site, Site]) -> None:
    first, second = pair
    with looking(first.gateway.url) as here, looking(second.gateway.url) as there:
        for site in (first, second, second):
            assert site.chat("chat", stream=True).status_code == 200
        for seen in (here, there):
            seen.sees(lambda told: told.outcomes("chat")["local"] == 3, "three requests")
            seen.sees(lambda told: len(told.last["policy"]["replicas"]) == 2, "two replicas")
            seen.sees(lambda told: told.last["latency"]["rules"].get("chat", {"n": 0})["n"] == 3, "their latencies")
        with second.occupied("chat"):
            here.sees(lambda told: told.last["status"]["in_flight"] == 1, "what runs at the other one")
        began = time.monotonic()
        second.http.post("/admin/v1/workers/chat-1/drain", json={"reason": "driver"})
        here.sees(lambda told: told.rows["chat-1"]["state"] in ("drained", "draining"), "the drain", SEEN_SECONDS)
        assert time.monotonic() - began < SEEN_SECONDS
        began = time.monotonic()
        second.gateway.stop()
        assert time.monotonic() - began < STOP_SECONDS, "a viewer holds nobody up"
        assert there.ended.wait(1.0)
        assert there.fault is None, "the stream was ended in order"
