"""Who may use the admin API. What a direct call is: tests/money/test_direct.py."""

from __future__ import annotations

import pytest

from gateway.console.access import check
from gateway.edge.calls import Call
from gateway.errors import AdminRefused, InvalidKey

KEY = "the-key-of-the-operators"
HOST = {b"host": b"127.0.0.1:8080"}


def call(headers: dict[bytes, bytes], peer: str | None = "127.0.0.1") -> Call:
    return Call("id", 0.0, "/admin/v1/status", headers, None, peer)


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1"])
def test_without_a_key_direct_calls_pass(peer: str) -> None:
    check(call(HOST, peer), None)


@pytest.mark.parametrize("peer", ["10.0.0.1", None])
def test_without_a_key_nobody_else_does(peer: str | None) -> None:
    with pytest.raises(AdminRefused, match=r"GATEWAY_ADMIN_KEY.*comes from elsewhere"):
        check(call(HOST, peer), None)


OTHERS = [{b"x-forwarded-for": b"127.0.0.1"}, {b"sec-fetch-site": b"cross-site"}, {b"sec-fetch-site": b"same-site"}]
OTHERS += [{b"origin": b"https://evil.example"}, {b"host": b"evil.example:8080"}]


@pytest.mark.parametrize("sent", OTHERS)
def test_a_page_of_another_site_is_not_local(sent: dict[bytes, bytes]) -> None:
    """Nor what a proxy passed on, nor who calls this host by a stranger's name."""
    with pytest.raises(AdminRefused):
        check(call({**HOST, **sent}), None)


def test_our_own_page_is() -> None:
    check(call({**HOST, b"sec-fetch-site": b"same-origin", b"origin": b"http://127.0.0.1:8080"}), None)


def test_with_a_key_its_holder_passes_from_anywhere() -> None:
    check(call({b"authorization": b"Bearer " + KEY.encode()}, "10.0.0.1"), KEY)
    check(call({b"x-api-key": KEY.encode()}, None), KEY)


@pytest.mark.parametrize(
    "headers", [HOST, {b"x-api-key": b"wrong"}, {b"authorization": b"Basic x"}, {b"x-api-key": "ä".encode()}]
)
def test_with_a_key_nobody_passes_without_it(headers: dict[bytes, bytes]) -> None:
    with pytest.raises(InvalidKey):
        check(call(headers), KEY)
