"""A stand-in for an OpenTelemetry collector: takes OTLP over HTTP on loopback and keeps what came."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Post(NamedTuple):
    """`path` says the signal: /v1/traces or /v1/metrics. Header names in lower case; `body` is protobuf."""

    path: str
    headers: dict[str, str]
    body: bytes


class Sink:
    """`posts` are the newest `most`. `status`: what it answers."""

    def __init__(self, most: int) -> None:
        self.posts: list[Post] = []
        self.status, self.url, self._most = 200, "", most

    def take(self, post: Post) -> None:
        self.posts = [*self.posts, post][-self._most :]

    def bodies(self, path: str) -> list[bytes]:
        return [post.body for post in self.posts if post.path == path]


@contextmanager
def collecting(port: int = 0, most: int = 10_000) -> Iterator[Sink]:
    sink = Sink(most)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sink.take(Post(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(sink.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        sink.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield sink
        finally:
            server.shutdown()
            thread.join()
