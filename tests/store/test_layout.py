"""Gateways of several layouts on one store: who may run beside whom, and what the others are told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.errors import StartupFault
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from gateway.store.layout import KEY, LAYOUT, check_layout
from loadtests.stack import DEMO_POLICIES, ROOT, start_gateway

TOGETHER = [
    (None, (1, 1), b"1 1"),
    (b"1 1", (1, 1), b"1 1"),
    (b"1 1", (2, 1), b"2 1"),
    (b"2 1", (1, 1), b"2 1"),
    (b"2 1", (3, 2), b"3 2"),
    (b"3 2", (2, 1), b"3 2"),
]
APART = [
    (b"2 2", (1, 1), "only gateways of layout 2 or newer can use it; this one has 1: start a newer gateway"),
    (b"4 3", (2, 1), "only gateways of layout 3 or newer"),
    (b"1 1", (2, 2), "cannot run beside those of a layout before 2: end them all, delete `gw:layout`"),
    (b"2 1", (4, 3), "cannot run beside those of a layout before 3"),
    (b"two", (1, 1), "has a `gw:layout` that no gateway wrote"),
    (b"", (1, 1), "has a `gw:layout` that no gateway wrote"),
]


async def put(store: Store, held: bytes | None) -> None:
    if held is not None:
        await store.call("SET", KEY, held)


@pytest.mark.parametrize(("held", "own", "then"), TOGETHER)
async def test_those_that_can_share_a_store_do(
    store: Store, held: bytes | None, own: tuple[int, int], then: bytes
) -> None:
    await put(store, held)
    await check_layout(store, *own)
    assert await store.call("GET", KEY) == then


@pytest.mark.parametrize(("held", "own", "said"), APART)
async def test_those_that_cannot_are_told_what_to_do_and_change_nothing(
    store: Store, held: bytes, own: tuple[int, int], said: str
) -> None:
    await put(store, held)
    with pytest.raises(StartupFault) as refused:
        await check_layout(store, *own)
    assert said in str(refused.value)
    assert await store.call("GET", KEY) == held


async def test_a_gateway_beside_a_newer_one_serves_until_it_is_too_old(own_server: Embedded, tmp_path: Path) -> None:
    """As in a rollout: the newer one came, then one that leaves the layout of ours behind."""
    store, env = Store(own_server.url), {"GATEWAY_REDIS_URL": own_server.url}
    await store.check()
    await check_layout(store, LAYOUT + 1, LAYOUT)
    with start_gateway(DEMO_POLICIES, tmp_path / "data", env=env):
        assert await store.call("GET", KEY) == b"%d %d" % (LAYOUT + 1, LAYOUT)
        with pytest.raises(StartupFault, match="cannot run beside"):
            await check_layout(store, LAYOUT + 3, LAYOUT + 2)
    await store.call("SET", KEY, b"%d %d" % (LAYOUT + 3, LAYOUT + 2))
    await store.aclose()
    command = [sys.executable, "-m", "gateway", "serve", "--policies", str(DEMO_POLICIES), "--port", "0"]
    done = subprocess.run(  # noqa: ASYNC221 - it ends at once
        command, cwd=ROOT, env={"PATH": "", **env}, capture_output=True, text=True, timeout=20
    )
    assert (done.returncode, "start a newer gateway" in done.stderr) == (2, True), done.stderr
