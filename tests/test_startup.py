"""Under which key replicas share policies."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import StartupFault
from gateway.settings import Settings
from gateway.startup import policy_key

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
