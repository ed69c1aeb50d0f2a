"""Who may use the admin API."""

from __future__ import annotations

import pytest

from gateway.console.access import FORWARDING, check
from gateway.edge.calls import Call
from gateway.errors import AdminRefused, InvalidKey

KEY = "the-key-of-the-operators"
HOST = {b"host": b"127.0.0.1:8080"}


def call(headers: dict[bytes, bytes], peer: str | None = "127.0.0.1") -> Call:
    return Call("id", 0.0, "/admin/v1/status", headers, None, peer)


@pytest.mark.parametrize("name", [b"127.0.0.1", b"127.0.0.1:8080", b"localhost:80", b"[::1]:8080", b"[::1]"])
def test_without_a_key_direct_loopback_callers_pass(name: bytes) -> None:
    check(call({b"host": name}), None)
    check(call({b"host": name}, "::1"), None)


@pytest.mark.parametrize("peer", ["10.0.0.1", "::ffff:10.0.0.1", None, "elsewhere"])
def test_without_a_key_nobody_else_does(peer: str | None) -> None:
    with pytest.raises(AdminRefused, match="GATEWAY_ADMIN_KEY"):
        check(call(HOST, peer), None)


PROXIED = [b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-client-cert", b"x-original-forwarded-for"]
PROXIED += [b"x-original-url", b"x-envoy-external-address", b"cf-connecting-ip", b"cf-ray", *sorted(FORWARDING)]


@pytest.mark.parametrize("header", PROXIED)
def test_what_was_passed_on_or_comes_from_a_page_is_not_local(header: bytes) -> None:
    with pytest.raises(AdminRefused):
        check(call({**HOST, header: b"127.0.0.1"}), None)


@pytest.mark.parametrize("site", [b"cross-site", b"same-site", b"", b"NONE"])
def test_a_page_of_another_site_is_not_local(site: bytes) -> None:
    with pytest.raises(AdminRefused):
        check(call({**HOST, b"sec-fetch-site": site}), None)


@pytest.mark.parametrize("site", [b"none", b"same-origin"])
def test_our_own_page_is(site: bytes) -> None:
    check(call({**HOST, b"sec-fetch-site": site}), None)


@pytest.mark.parametrize("name", [b"", b"evil.example", b"evil.example:8080", b"127.0.0.1.evil.example"])
def test_a_name_that_is_not_this_hosts_is_not_local(name: bytes) -> None:
    with pytest.raises(AdminRefused):
        check(call({b"host": name}), None)


def test_with_a_key_its_holder_passes_from_anywhere() -> None:
    check(call({b"authorization": b"Bearer " + KEY.encode()}, "10.0.0.1"), KEY)
    check(call({b"x-api-key": KEY.encode()}, None), KEY)


@pytest.mark.parametrize(
    "headers", [HOST, {b"x-api-key": b"wrong"}, {b"authorization": b"Basic x"}, {b"x-api-key": "ä".encode()}]
)
def test_with_a_key_nobody_passes_without_it(headers: dict[bytes, bytes]) -> None:
    with pytest.raises(InvalidKey):
        check(call(headers), KEY)
