"""Who may use the admin API."""

from __future__ import annotations

from itertools import product

import pytest

from gateway.console.access import FORWARDING, check, from_loopback
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


HOSTS = [b"127.0.0.1:8080", b"localhost:8080", b"[::1]:8080", b"localhost", b"evil.example:8080", b""]
SITES = [None, b"none", b"same-origin", b"same-site", b"cross-site", b"Same-Origin"]
ORIGINS = [
    None,
    *(scheme + host for scheme in (b"http://", b"https://") for host in HOSTS if host),
    b"http://127.0.0.1:9090",
    b"http://127.0.0.1:8080.evil.example",
    b"http://127.0.0.1:8080/",
    b"ftp://127.0.0.1:8080",
    b"null",
    b"",
]


def passes(host: bytes, site: bytes | None, origin: bytes | None, peer: str) -> bool:
    headers = {name: value for name, value in ((b"sec-fetch-site", site), (b"origin", origin)) if value is not None}
    try:
        check(call({b"host": host, **headers}, peer), None)
    except AdminRefused:
        return False
    return True


def test_a_page_passes_that_is_of_this_very_origin_and_no_other() -> None:
    """All combinations. With Origin the browser must say `same-origin` too; without, as at a GET, what it says is
    enough, and who says nothing is no browser."""
    wrong = []
    for host, site, origin, peer in product(HOSTS, SITES, ORIGINS, ("127.0.0.1", "::1", "10.0.0.1")):
        local = peer != "10.0.0.1" and host not in (b"evil.example:8080", b"")
        own = site == b"same-origin" and origin in (b"http://" + host, b"https://" + host)
        plain = origin is None and site in (None, b"none", b"same-origin")
        if passes(host, site, origin, peer) != (local and (own or plain)):
            wrong.append({"host": host, "site": site, "origin": origin, "peer": peer})
    assert wrong == []


def test_a_proxy_in_front_of_our_own_page_is_still_a_proxy() -> None:
    own = {**HOST, b"sec-fetch-site": b"same-origin", b"origin": b"http://127.0.0.1:8080"}
    check(call(own), None)
    with pytest.raises(AdminRefused):
        check(call({**own, b"x-forwarded-for": b"10.0.0.1"}), None)


def test_a_worker_that_registers_is_never_a_page() -> None:
    own = {**HOST, b"sec-fetch-site": b"same-origin", b"origin": b"http://127.0.0.1:8080"}
    assert not from_loopback(call(own))
    assert from_loopback(call(HOST))


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
