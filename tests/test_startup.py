"""Under which key replicas share policies, and how long a start waits for its store."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import StartupFault
from gateway.settings import Settings
from gateway.startup import check_store, patiently, policy_key
from gateway.store.connection import Store
from gateway.store.embedded import Embedded

LONG = "a-key-of-many-letters"
URL = "redis://elsewhere"


def key(**given: Any) -> bytes | None:
    return policy_key(Settings(_env_file=None, **given))


def test_the_key_that_is_given_holds() -> None:
    assert key(policy_key=LONG, key_pepper="pepper", redis_url=URL) == LONG.encode()
    assert key(policy_key=LONG) == LONG.encode()


def test_an_empty_one_turns_sharing_off() -> None:
    assert key(policy_key="", key_pepper="pepper", redis_url=URL) is None
    assert key(policy_key="") is None


def test_a_short_one_is_refused() -> None:
    with pytest.raises(StartupFault, match="GATEWAY_POLICY_KEY"):
        key(policy_key="short")


def test_it_is_derived_from_the_pepper_that_all_replicas_hold() -> None:
    derived = key(key_pepper="pepper", redis_url=URL)
    assert derived == key(key_pepper="pepper", redis_url=URL)
    assert derived != key(key_pepper="other", redis_url=URL)
    assert derived is not None
    assert b"pepper" not in derived
    assert key(redis_url=URL) is None


def test_an_embedded_store_has_a_new_one_at_each_start() -> None:
    first, second = key(key_pepper="pepper"), key(key_pepper="pepper")
    assert first is not None
    assert first != second


async def test_a_start_waits_for_a_store_that_begins_to_answer(
    own_server: Embedded, caplog: pytest.LogCaptureFixture
) -> None:
    os.kill(own_server.pid, signal.SIGSTOP)
    try:
        with caplog.at_level(logging.WARNING, "gateway"):
            checking = asyncio.create_task(check_store(own_server.url))
            async with asyncio.timeout(5):
                while not caplog.messages:  # noqa: ASYNC110 - a log tells nobody
                    await asyncio.sleep(0.01)
            os.kill(own_server.pid, signal.SIGCONT)
            await checking
    finally:
        os.kill(own_server.pid, signal.SIGCONT)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("the store at ")
    assert caplog.messages[0].endswith("; trying again for 5 s")


async def test_not_for_ever_where_nobody_listens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(f"unix://{tmp_path}/nobody")
    with pytest.raises(StartupFault, match="cannot be used"):
        await patiently(store.check, 0.3)
    assert len(caplog.messages) == 1


async def test_not_at_all_where_waiting_helps_nobody(own_server: Embedded, caplog: pytest.LogCaptureFixture) -> None:
    with_password = f"unix://:wrong@{own_server.url.removeprefix('unix://')}"
    with pytest.raises(StartupFault, match="AUTH"):
        await check_store(with_password)
    store = Store(own_server.url)
    await patiently(store.check)
    await store.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    await store.aclose()
    with pytest.raises(StartupFault, match="noeviction"):
        await check_store(own_server.url)
    assert not [told for told in caplog.messages if "AUTH" in told or "noeviction" in told]
