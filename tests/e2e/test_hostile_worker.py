"""A worker that was taken over attacks who asks it: the caller gets a plain error, or the answer and nothing else."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateways import Lane, Site, gateway_on, start_lanes

MIB = 1 << 20
ANSWER = json.dumps(
    {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
).encode()
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SIZED = OK + b"Content-Length: %d\r\n" % len(ANSWER)
THEIRS = (
    b"Set-Cookie: session=theirs\r\nLocation: https://elsewhere.example/\r\nAccess-Control-Allow-Origin: *\r\n"
    b"OpenAI-Organization: org-ours\r\nx-ratelimit-remaining-tokens: 7\r\nX-Request-Id: forged\r\n"
    b"X-Gateway-Cost: 0\r\nStrict-Transport-Security: max-age=1\r\nX-Anything: else\r\n"
)
POISON = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n"POISONED"'
REFUSED = {
    "a header split by CR": SIZED + b"X-A: b\rSet-Cookie: session=theirs\r\n\r\n" + ANSWER,
    "a header folded": SIZED + b"X-A: b\r\n Set-Cookie: session=theirs\r\n\r\n" + ANSWER,
    "two lengths": SIZED + b"Content-Length: 5\r\n\r\n" + ANSWER,
    "a length beside chunks": SIZED + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a huge head": SIZED + b"X-A: " + b"a" * MIB + b"\r\n\r\n" + ANSWER,
    "many headers": SIZED + b"X-A: b\r\n" * 5000 + b"\r\n" + ANSWER,
    "a bomb": OK + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n" + gzip.compress(bytes(64 * MIB)),
    "a body without an end": OK + b"Connection: close\r\n\r\n" + b" " * 3 * MIB,
    "an upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + ANSWER,
    "endless interim answers": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000 + SIZED + b"\r\n" + ANSWER,
    "a page": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 8\r\n\r\n<script>",
}
SAID = {
    "a header split by CR": "Missing expected LF",
    "a header folded": "Unexpected whitespace",
    "two lengths": "Duplicate Content-Length",
    "a length beside chunks": "can't be present with Content-Length",
    "a huge head": "longer than 65536 bytes",
    "many headers": "more than 256 response headers",
    "a bomb": "a content coding that was not asked for",
    "a body without an end": "more than 1048576 bytes",
    "an upgrade": "protocol upgrade",
    "endless interim answers": "more than 8 informational responses",
    "a page": "neither JSON nor a stream of events",
}
TAKEN = {"headers of theirs": SIZED + THEIRS + b"\r\n" + ANSWER, "a second answer": SIZED + b"\r\n" + ANSWER + POISON}
LANES = [
    Lane(f"evil-{number}", cloud=False, worker={"engine": "openai"}) for number in range(len(REFUSED) + len(TAKEN) + 1)
]
NAMES = dict(zip([*REFUSED, *TAKEN, "a redirect"], (lane.name for lane in LANES), strict=True))


class Handler(socketserver.StreamRequestHandler):
    """Reads requests, and answers each with the bytes of its server."""

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while self.rfile.readline():
                length = 0
                while (line := self.rfile.readline()) not in (b"\r\n", b""):
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                self.rfile.read(length)
                self.wfile.write(self.server.says)  # type: ignore[attr-defined]
                if b"Connection: close" in self.server.says[:200]:  # type: ignore[attr-defined]
                    return


class Hostile(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, says: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.says = says
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture(scope="module")
def trap() -> Iterator[socket.socket]:
    """Where a redirect leads: an address of metadata, as a cloud has it, would be no better."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        yield sock


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, trap: socket.socket) -> Iterator[Site]:
    leads = b"Location: http://127.0.0.1:%d/latest/meta-data/\r\n" % trap.getsockname()[1]
    moved = b"HTTP/1.1 307 Temporary Redirect\r\n" + leads + b"Content-Length: 0\r\n\r\n"
    answers = {**REFUSED, **TAKEN, "a redirect": moved}
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(Hostile(answers[case])) for case, name in NAMES.items()}
        for server in servers.values():
            stack.callback(server.shutdown)

        def led(files: dict[str, Any]) -> dict[str, Any]:
            for backend in files["backends.yaml"]["backends"]:
                backend["upstreams"][0]["url"] = f"http://127.0.0.1:{servers[backend['name']].server_address[1]}"
            return files

        place = Path(tmp_path_factory.mktemp("hostile"))
        fleet = stack.enter_context(start_lanes(LANES))
        yield stack.enter_context(gateway_on([fleet], LANES, place, {"GATEWAY_ANSWER_BYTES": str(MIB)}, led))


def strange(answer: httpx.Response) -> list[str]:
    """Headers and text of the worker that came down."""
    ours = [value for name, value in answer.headers.multi_items() if name == "x-request-id"]
    theirs = (
        "set-cookie",
        "location",
        "access-control-",
        "openai-",
        "strict-transport",
        "x-anything",
        "x-a",
        "upgrade",
    )
    found = [name for name in answer.headers if name.startswith(theirs)]
    return found + (["forged id"] if len(ours) != 1 or ours == ["forged"] else [])


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_plain_answer_is_an_error_of_ours(site: Site, case: str) -> None:
    answer = site.chat(NAMES[case])
    assert answer.status_code == 502, (answer.status_code, answer.text[:200])
    assert SAID[case] in answer.json()["error"]["message"]
    assert strange(answer) == []
    assert "theirs" not in answer.text + str(answer.headers)


def test_headers_of_a_worker_stay_there(site: Site) -> None:
    answer = site.chat(NAMES["headers of theirs"])
    assert (answer.status_code, answer.json()["choices"][0]["message"]["content"]) == (200, "hi")
    assert strange(answer) == []
    assert "x-ratelimit-remaining-tokens" not in answer.headers
    assert answer.headers.get("x-gateway-cost") != "0"


def test_a_second_answer_is_nobodys(site: Site) -> None:
    for _ in range(4):
        answer = site.chat(NAMES["a second answer"])
        assert (answer.status_code, "POISONED" in answer.text) == (200, False)


def test_a_redirect_is_not_followed(site: Site, trap: socket.socket) -> None:
    answer = site.chat(NAMES["a redirect"])
    assert answer.status_code in (502, 503), answer.text
    assert strange(answer) == []
    with pytest.raises(BlockingIOError):
        trap.accept()
