"""`gateway register` and `gateway drain` before what is not, or not yet, a gateway that they may trust."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import register as module
from gateway.cli.register import Registrant, token_of
from gateway.cli.remote import trusting
from tests.certificates import Authority, Pair
from tests.gateways import eventually

BODY = {"backend": "gpu", "url": "http://10.0.0.9:8000", "ttl_s": 0.03}
WELCOME = (201, json.dumps({"name": "w", "upstream": None, "ticket": "t"}))


class Server(ThreadingHTTPServer):
    """Answers everything with `answer`; `tokens` are those that it was shown."""

    answer = WELCOME
    tokens: list[str | None]

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.tokens.append(self.headers["Authorization"])
        status, body = self.server.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    do_DELETE = do_POST

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def serving(pair: Pair | None = None) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.tokens = []
        if pair is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair.cert, pair.key)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@contextmanager
def registering(server: Server, token: Path) -> Iterator[threading.Thread]:
    made, stop = (
        Registrant(f"http://127.0.0.1:{server.port}", lambda: token_of(token), BODY, trusting(None)),
        threading.Event(),
    )
    thread = threading.Thread(target=made.run, args=(stop,))
    thread.start()
    yield thread
    stop.set()
    thread.join()


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    made = tmp_path / "token"
    made.write_text("one")
    return made


@pytest.mark.parametrize(
    "answer",
    [
        (200, "<html>"),
        (200, "[]"),
        (200, '"x"'),
        (200, "{}"),
        (404, "<html>"),
        (404, '{"detail": "Not Found"}'),
        (302, ""),
    ],
)
def test_what_is_no_gateway_is_tried_again(token: Path, answer: tuple[int, str], capsys: Any) -> None:
    with serving() as server:
        server.answer = answer
        with registering(server, token) as running:
            eventually(lambda: len(server.tokens) > 2, "it goes on")
            assert running.is_alive()
            server.answer = WELCOME
            asked = len(server.tokens)
            eventually(lambda: len(server.tokens) > asked + 1, "it goes on")
    said = capsys.readouterr().err.splitlines()
    assert said == ["what answers there is not a gateway; trying again", "registered as w", "w has left"]


def test_a_token_that_is_being_replaced_is_read_again(token: Path, capsys: Any) -> None:
    with serving() as server, registering(server, token) as running:
        eventually(lambda: "Bearer one" in server.tokens, "the first is shown")
        token.unlink()
        told: list[str] = []
        eventually(lambda: "cannot be read" in (told.append(capsys.readouterr().err) or "".join(told)), "it says so")  # type: ignore[func-returns-value]
        assert running.is_alive()
        token.write_text("two")
        eventually(lambda: "Bearer two" in server.tokens, "the second is shown")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


def run(*words: str, until: str = "", **env: str) -> str:
    """What the command says, until it ends or says `until`."""
    command = [sys.executable, "-m", "gateway", *words]
    with subprocess.Popen(command, env={**os.environ, **env}, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if until and until in said:
                break
        process.terminate()
    return said


def test_a_gateway_of_a_private_authority_is_reached_with_ca_and_named_without(authority: Authority) -> None:
    with serving(authority.issue("gateway")) as server:
        url = f"https://localhost:{server.port}"
        words = ("register", "--url", url, "--backend", "gpu", "--worker-url", "http://10.0.0.9:8000")
        secret = {"GATEWAY_WORKER_TOKEN": "of-the-environment"}
        assert "certificate is not trusted" in run(*words, until="not trusted", **secret)
        assert server.tokens == []
        trusted = ("--ca", str(authority.own.cert))
        assert "registered as w" in run(*words, *trusted, until="registered", **secret)
        assert server.tokens[0] == "Bearer of-the-environment"
        assert "GATEWAY_WORKER_TOKEN" in run(*words, GATEWAY_WORKER_TOKEN="")
        assert "--ca" in run("drain", "w", "--url", url)
        server.answer = (200, json.dumps({"inflight": 0}))
        assert run("drain", "w", "--url", url, *trusted) == ""
        assert "no certificates" in run("drain", "w", "--url", url, "--ca", str(authority.own.key))
