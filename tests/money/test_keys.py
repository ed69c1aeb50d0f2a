from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.errors import InvalidKey
from gateway.model import Tenant
from gateway.money.keys import ANYBODY, authenticate, credential, hash_key
from tests.worlds import policy

PEPPER, KEY = "pepper", "hrg-abc"
TENANT = Tenant("acme")
KEYED = replace(policy(), tenants={"acme": TENANT}, keys={hash_key(PEPPER, KEY): "acme"})
DEMO = replace(policy(), tenants={"acme": TENANT}, keys={"demo": "acme"}, simulated=True)


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({b"authorization": b"Bearer k1"}, "k1"),
        ({b"authorization": b"bearer  k1 "}, "k1"),
        ({b"x-api-key": b"k2"}, "k2"),
        ({b"authorization": b"Bearer k1", b"x-api-key": b"k2"}, "k1"),
        ({b"authorization": b"Basic k1"}, None),
        ({b"authorization": b"Bearer "}, None),
        ({b"x-api-key": b""}, None),
        ({}, None),
    ],
)
def test_where_a_key_may_stand(headers: dict[bytes, bytes], key: str | None) -> None:
    assert credential(headers) == key


def test_a_key_is_its_tenant() -> None:
    assert authenticate(KEYED, PEPPER, {b"x-api-key": KEY.encode()}, "203.0.113.7") is TENANT


@pytest.mark.parametrize("key", [b"", b"wrong", b"demo", b"hrg-ab", hash_key(PEPPER, KEY).encode(), b"\xff\xfe"])
def test_anything_else_is_refused_without_being_quoted(key: bytes) -> None:
    with pytest.raises(InvalidKey) as caught:
        authenticate(KEYED, PEPPER, {b"x-api-key": key}, "127.0.0.1")
    assert not key or key.decode("latin-1") not in caught.value.message


def test_another_pepper_opens_nothing() -> None:
    with pytest.raises(InvalidKey):
        authenticate(KEYED, "other", {b"x-api-key": KEY.encode()}, "127.0.0.1")


def test_the_demo_key_needs_a_simulated_folder() -> None:
    headers = {b"authorization": b"Bearer demo"}
    assert authenticate(DEMO, "", headers, "203.0.113.7") is TENANT
    with pytest.raises(InvalidKey):
        authenticate(replace(DEMO, simulated=False), "", headers, "127.0.0.1")


@pytest.mark.parametrize(
    ("peer", "admitted"), [("127.0.0.1", True), ("::1", True), ("10.0.0.4", False), (None, False), ("x", False)]
)
def test_without_keys_only_loopback_is_answered(peer: str | None, admitted: bool) -> None:
    if admitted:
        assert authenticate(policy(), "", {}, peer) is ANYBODY
    else:
        with pytest.raises(InvalidKey):
            authenticate(policy(), "", {}, peer)
