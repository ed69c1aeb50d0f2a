"""Who calls from this very host, on nobody else's behalf."""

from __future__ import annotations

import pytest

from gateway.money.direct import PROXIES, from_loopback, indirect

HOST = {b"host": b"127.0.0.1:8080"}
OWN_PAGE = {**HOST, b"sec-fetch-site": b"same-origin", b"origin": b"http://127.0.0.1:8080"}
HERE = "127.0.0.1"


OURS = [b"127.0.0.1", b"127.0.0.1:8080", b"localhost:80", b"[::1]:8080", b"[::1]"]
OURS += [b"LOCALHOST:8080", b"Localhost", b"127.0.0.2:8080", b"127.255.255.254", b"[0:0:0:0:0:0:0:1]:8080"]


@pytest.mark.parametrize("name", OURS)
def test_who_calls_this_host_by_its_name_is_direct(name: bytes) -> None:
    assert indirect({b"host": name}, "127.0.0.1") is None
    assert indirect({b"host": name}, "::1") is None
    assert indirect({b"host": name}, "::ffff:127.0.0.1") is None, "who listens on `::` sees IPv4 peers so"
    assert from_loopback({b"host": name}, "::ffff:127.0.0.1")
    assert indirect({b"host": name, b"origin": b"http://" + name.lower()}, HERE) is None
    assert indirect({b"host": name, b"origin": b"http://" + name.lower() + b"0"}, HERE) is not None


PROGRAMS = [
    {b"user-agent": b"curl/8.5.0", b"accept": b"*/*"},
    {b"user-agent": b"OpenAI/Python 2.6.0", b"x-stainless-lang": b"python", b"authorization": b"Bearer none"},
    {b"user-agent": b"node", b"sec-fetch-mode": b"cors", b"accept-language": b"*"},
]


@pytest.mark.parametrize("sent", PROGRAMS)
def test_programs_of_this_host_are_direct(sent: dict[bytes, bytes]) -> None:
    """As curl, the official SDK and the fetch of Node send them."""
    assert indirect({**HOST, **sent}, HERE) is None


@pytest.mark.parametrize("peer", ["10.0.0.1", "::ffff:10.0.0.1", "172.17.0.1", None, "elsewhere", ""])
def test_who_connects_from_elsewhere_is_not(peer: str | None) -> None:
    assert indirect(HOST, peer) == "this one comes from elsewhere"
    assert not from_loopback(HOST, peer)


PROXIED = [b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-client-cert", b"x-original-forwarded-for"]
PROXIED += [b"x-original-url", b"x-envoy-external-address", b"cf-connecting-ip", b"cf-ray", *sorted(PROXIES)]


@pytest.mark.parametrize("header", PROXIED)
def test_what_was_passed_on_is_not(header: bytes) -> None:
    for sent in (HOST, OWN_PAGE):
        said = indirect({**sent, header: b"127.0.0.1"}, HERE)
        assert said is not None
        assert "proxy" in said
    assert not from_loopback({**HOST, header: b""}, HERE)


def test_of_a_header_only_what_we_know_of_it_is_said() -> None:
    said = indirect({**HOST, b"x-forwarded-\xff" + b"x" * 9000: b""}, HERE)
    assert said == "this one was passed on by a proxy (`x-forwarded-*`)"


HOSTS = [b"127.0.0.1:8080", b"localhost:8080", b"[::1]:8080", b"localhost", b"evil.example:8080", b""]
SITES = [None, b"none", b"same-origin", b"same-site", b"cross-site", b"Same-Origin", b""]
ORIGINS = [
    None,
    *(scheme + host for scheme in (b"http://", b"https://") for host in HOSTS if host),
    b"http://127.0.0.1:9090",
    b"http://127.0.0.1:8080.evil.example",
    b"http://127.0.0.1:8080/",
    b"ftp://127.0.0.1:8080",
    b"file://",
    b"null",
    b"",
]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("site", SITES)
def test_a_page_passes_that_is_of_this_very_origin_and_no_other(host: bytes, site: bytes | None) -> None:
    """All combinations. With Origin that must be ours, and the browser must say nothing else; without, as at a GET,
    what it says is enough, and who says nothing is no browser."""
    for origin in ORIGINS:
        sent = {b"host": host, b"sec-fetch-site": site, b"origin": origin}
        headers = {name: value for name, value in sent.items() if value is not None}
        own = site in (None, b"same-origin") and origin in (b"http://" + host, b"https://" + host)
        plain = origin is None and site in (None, b"none", b"same-origin")
        ours = host not in (b"evil.example:8080", b"")
        for peer in ("127.0.0.1", "::1", "10.0.0.1"):
            passes = peer != "10.0.0.1" and ours and (own or plain)
            assert (indirect(headers, peer) is None) is passes, (origin, peer)


NAMES = [b"", b"evil.example", b"evil.example:8080", b"127.0.0.1.evil.example", b"localhost.evil.example:80"]
NAMES += [b"gateway:8080", b"gateway.local", b"host.docker.internal:8080", b"0.0.0.0:8080", b"evil@localhost", b"::1"]
NAMES += [
    b"0.0.0.0",
    b"[::]:8080",
    b"[::ffff:127.0.0.1]:8080",
    b"[127.0.0.1]",
    b"10.0.0.1:8080",
    b"[::2]",
    b"127.0.0.256",
]
NAMES += [b"127.0.0.1" + b"0" * 9000, b"\xff", b"[]", b"[:8080", b"127.0.0.1.:80"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_not_this_hosts_is_not_direct(name: bytes) -> None:
    said = indirect({b"host": name}, HERE)
    assert said is not None
    assert "`host`" in said


def test_no_name_at_all_is_not_direct() -> None:
    assert indirect({}, HERE) is not None


def test_a_worker_that_registers_is_never_a_page_and_calls_this_host_as_it_likes() -> None:
    assert indirect(OWN_PAGE, HERE) is None
    assert not from_loopback(OWN_PAGE, HERE)
    assert from_loopback(HOST, HERE)
    assert from_loopback({b"host": b"gateway:8080"}, HERE)
    assert not from_loopback({**HOST, b"sec-fetch-site": b"cross-site"}, HERE)
