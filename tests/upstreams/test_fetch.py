"""The guarded fetch, against real sockets. `resolve` is handed in where a test must say what a name resolves to."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.errors import BadAnswer, ConnectFailed, Reset, UpstreamFault, UpstreamTimeout
from gateway.upstreams import fetch as guarded
from gateway.upstreams.client import TooLong
from gateway.upstreams.fetch import FetchRefused, Resolve, fetch
from tests.certificates import Authority
from tests.upstreams.http1.rawserver import OK, Peer, RawServer, always, then_end

PICTURE = OK + b"Content-Type: Image/PNG; x=y\r\nContent-Length: 5\r\n\r\nbytes"
MOST, SECONDS = 1 << 20, 5.0


def names(*addresses: str) -> Resolve:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


async def read(url: str, *, most: int = MOST, seconds: float = SECONDS, **more: object) -> bytes:
    given = {"hosts": None, "allow_private": True, **more}
    async with guarded.open(url, most=most, seconds=seconds, **given) as opened:  # type: ignore[arg-type]
        return b"".join([piece async for piece in opened.pieces()])


async def test_a_file_comes_with_its_type_and_none_of_our_secrets() -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        request = await peer.request()
        assert request is not None
        seen.extend([request.line, *request.headers])
        await peer.send(PICTURE)

    async with RawServer(script) as server:
        got = await fetch(
            f"http://127.0.0.1:{server.port}/a/b?c=d", hosts=None, most=MOST, seconds=SECONDS, allow_private=True
        )
    assert got == ("image/png", b"bytes")
    assert "bytes" not in repr(got).replace("5 bytes", "")
    assert seen == [b"GET /a/b?c=d HTTP/1.1", b"host", b"accept-encoding"]


@pytest.mark.parametrize(
    "url",
    [
        *("", "ftp://example.com/a", "file:///etc/passwd", "//example.com/a", "example.com/a", "http://", "http:///a"),
        *("http://user@example.com/", "http://user:pass@example.com/", "http://@example.com/"),
        *("http://example.com:22/", "https://example.com:80/", "http://example.com:443/", "http://example.com:0/"),
        *("http://example.com:99999/", "http://exa mple.com/", "http://example.com/\r\nHost: x", "http://[::1/"),
        *("http://ex\xe4mple.com/", "http://[fe80::1%25eth0]/", "http://example.com/" + "a" * 9000, "gopher://x/"),
        *("http://example.com\t/", "http://example.com/a b", "data:image/png;base64,AAAA"),
    ],
)
async def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(FetchRefused):
        await read(url, allow_private=False, resolve=names("127.0.0.1"))


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1/", "http://localhost/", "http://169.254.169.254/latest/meta-data", "http://[::1]/"),
        *("http://2130706433/", "http://0x7f.1/", "http://017700000001/", "http://127.1/", "http://0/"),
        *(
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:a9fe:a9fe]/",
            "http://[64:ff9b::7f00:1]/",
            "http://localhost./",
        ),
    ],
)
async def test_what_lies_inside_is_refused_however_it_is_written(url: str) -> None:
    with pytest.raises((FetchRefused, ConnectFailed)) as refused:
        await read(url, allow_private=False)
    assert not refused.value.processed


async def test_one_inner_address_speaks_against_the_whole_name() -> None:
    with pytest.raises(FetchRefused):
        await read("http://two.example/", allow_private=False, resolve=names("8.8.8.8", "10.0.0.1"))


async def test_a_name_that_changes_its_mind_is_asked_once_and_not_believed_again() -> None:
    """DNS rebinding: the connection goes to the address that was checked, so a second answer is never asked for."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["192.0.2.1"]

    async with RawServer(always(PICTURE)) as server:
        assert await read(f"http://nobody.invalid:{server.port}/", resolve=resolve) == b"bytes"
    assert asked == ["nobody.invalid"]


@pytest.mark.parametrize(
    ("hosts", "fits"),
    [(None, True), (("*.example.com",), False), (("localhost",), True), (("LOCAL*",), True), ((), False)],
)
async def test_hosts_are_an_allow_list(hosts: tuple[str, ...] | None, fits: bool) -> None:
    async with RawServer(always(PICTURE)) as server:
        url = f"http://LocalHost:{server.port}/"
        if fits:
            assert await read(url, hosts=hosts) == b"bytes"
            return
        with pytest.raises(FetchRefused):
            await read(url, hosts=hosts)
        assert server.accepted == 0


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n", BadAnswer),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", BadAnswer),
        (OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi", BadAnswer),
        (OK + b"Content-Length: 1048577\r\n\r\n", TooLong),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"100001\r\n" + b"a" * 0x100001 + b"\r\n0\r\n\r\n", TooLong),
        (OK + b"Content-Length: 9\r\n\r\nhi", Reset),
        (b"\x89PNG", UpstreamFault),
    ],
)
async def test_answers_that_are_no_file(answer: bytes, fault: type[UpstreamFault]) -> None:
    async with RawServer(then_end(answer)) as server:
        with pytest.raises(fault):
            await read(f"http://127.0.0.1:{server.port}/")


async def test_one_that_dawdles_is_given_up() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"Content-Length: 9\r\n\r\nhi")
        await peer.gone()

    async with RawServer(script) as server:
        with pytest.raises(UpstreamTimeout):
            await read(f"http://127.0.0.1:{server.port}/", seconds=0.2)


async def test_an_address_that_nobody_answers_at_leaves_the_next_one() -> None:
    async with RawServer(always(PICTURE)) as server:
        assert await read(f"http://two.invalid:{server.port}/", resolve=names("127.0.0.2", "127.0.0.1")) == b"bytes"


async def test_names_that_never_resolve_hold_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their owner says how long that takes. The threads that all share also resolve our own upstreams' names."""
    over = threading.Event()

    def hangs(*_: object, **__: object) -> None:
        over.wait(20.0)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    asked = [asyncio.create_task(guarded.place_checked(f"http://{n}.slow/")) for n in range(64)]
    try:
        await asyncio.sleep(0)
        async with asyncio.timeout(5.0):
            await asyncio.gather(*(asyncio.to_thread(int) for _ in range(64)))
        assert not any(one.done() for one in asked)
    finally:
        over.set()
        await asyncio.gather(*asked, return_exceptions=True)


async def test_tls_is_verified_against_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority.make(tmp_path)
    pair = authority.issue("files", "files.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.own.cert))
    guarded._trust.cache_clear()
    try:
        async with RawServer(always(PICTURE), tls=context) as server:
            here = names("127.0.0.1")
            assert await read(f"https://files.example:{server.port}/", resolve=here) == b"bytes"
        async with RawServer(always(PICTURE), tls=context) as server:
            with pytest.raises(ConnectFailed, match="TLS"):
                await read(f"https://other.example:{server.port}/", resolve=here)
    finally:
        guarded._trust.cache_clear()
