"""Documents of others, over real HTTP: nothing is followed, nothing grows without bound."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gateway.errors import UpstreamFault
from gateway.upstreams import documents
from gateway.upstreams.documents import MOST_BYTES, document


class Pages(BaseHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012 - of one test run

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response({"/moved": 302, "/broken": 500}.get(self.path, 200))
        if self.path == "/moved":
            self.send_header("Location", "/small")
        if self.path == "/packed":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        if self.path == "/packed":
            self.wfile.write(gzip.compress(b"x" * 10))
            return
        if self.path == "/told":
            self.wfile.write(str(self.headers["Accept-Encoding"]).encode())
            return
        self.wfile.write(b"x" * (MOST_BYTES + 1 if self.path == "/large" else 10))

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def home() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


async def test_a_document_is_fetched(home: str) -> None:
    assert await document(f"{home}/small") == b"x" * 10
    assert await document(f"{home}/told") == b"identity"


@pytest.mark.parametrize(
    ("path", "said"),
    [("/moved", "302"), ("/broken", "500"), ("/large", "a file of more than"), ("/packed", "content coding")],
)
async def test_what_is_no_document(home: str, path: str, said: str) -> None:
    Pages.asked.clear()
    with pytest.raises(UpstreamFault, match=said) as fault:
        await document(home + path)
    assert Pages.asked == [path]
    assert home not in fault.value.message


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1:99999/", "https://xn--/", "https://h.test/\ud800", "https://h\ud800/"]
)
async def test_an_address_that_nobody_can_have_is_one_that_does_not_answer(url: str) -> None:
    with pytest.raises(UpstreamFault, match="does not answer"):
        await document(url)


async def test_proxies_of_the_environment_are_not_used(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert await document(f"{home}/small")


async def test_who_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for address in (f"http://127.0.0.1:{silent.getsockname()[1]}", "http://127.0.0.1:1", "http://[", "ftp://x"):
            with pytest.raises(UpstreamFault, match="does not answer"):
                await document(address)
