"""A worker that lies harms nobody but itself: one beside two honest ones, for each lie a lane of its own."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateways import Lane, Site, eventually, folder_of, serve, write_folder

HONEST = 2
REQUESTS = 24
MOST_TRIES = 8
"""Attempts on one that answers with garbage: three open its circuit, and then one for each pause that ended."""
MEMORY_KB = 64 << 10
IDLE = "vllm:num_requests_running 0.0\nvllm:num_requests_waiting 0.0\nvllm:kv_cache_usage_perc 0.0\n"
ANSWER = json.dumps(
    {
        "id": "x",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "lie"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
)


@dataclass(frozen=True, slots=True)
class Told:
    """One answer."""

    body: str = ""
    status: int = 200
    kind: str = "application/json"
    location: str | None = None


def page(text: str) -> Told:
    return Told(text, kind="text/plain")


def gauges(running: str, waiting: str, kv: str = "0.0") -> Told:
    return page(
        f"vllm:num_requests_running {running}\nvllm:num_requests_waiting {waiting}\nvllm:kv_cache_usage_perc {kv}\n"
    )


_starts = count(1_000_000, 1000)
PAGES: dict[str, Callable[[], Told]] = {
    "negative": lambda: gauges("-5", "-5", "-1"),
    "nan": lambda: gauges("NaN", "NaN", "+Inf"),
    "huge": lambda: gauges("0", "1e9", "1e9"),
    "heavy": lambda: page("# filler of a page that never ends\n" * 300_000 + IDLE),
    "html": lambda: Told("<html>all is well</html>", kind="text/html"),
    "away": lambda: Told(status=302, location="http://127.0.0.1:1/metrics"),
    "reborn": lambda: page(IDLE + f"process_start_time_seconds {next(_starts)}\n"),
    "empty": lambda: page(""),
    "refused": lambda: Told("no", 500),
}
"""What it says of itself; it answers like any other."""
ANSWERS: dict[str, Callable[[], Told]] = {
    "fast-500": lambda: Told("{}", 500),
    "fast-empty": lambda: Told("{}"),
    "torn-json": lambda: Told(ANSWER[:40]),
    "no-events": lambda: Told("", kind="text/event-stream"),
    "torn-events": lambda: Told("data: {broken", kind="text/event-stream"),
    "page-for-answer": lambda: Told("<html>welcome</html>", kind="text/html"),
}
"""What it answers; it says that it is idle, and is the fastest of all."""


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A gateway that has ended is no news."""


@dataclass(slots=True)
class Liar:
    page: Callable[[], Told]
    answer: Callable[[], Told]
    asked: int = 0
    url: str = ""
    _server: ThreadingHTTPServer | None = field(default=None, repr=False)

    def start(self) -> None:
        self._server = Quiet(("127.0.0.1", 0), handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()


def handler(liar: Liar) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.say(liar.page() if self.path == "/metrics" else Told("{}", 404))

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            liar.asked += 1
            self.say(liar.answer())

        def say(self, told: Told) -> None:
            body = told.body.encode()
            with contextlib.suppress(ConnectionError):  # a page that is too long is not read to its end
                self.send_response(told.status)
                self.send_header("content-type", told.kind)
                self.send_header("content-length", str(len(body)))
                if told.location is not None:
                    self.send_header("location", told.location)
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    return Handler


NAMES = [*PAGES, "mirror", *ANSWERS]
WHEN = {"spill": {"backends": ["huge-api"], "when": {"queue_depth": "> 8"}}}
LANES = [Lane(name, workers=HONEST, cloud=name == "huge", route=WHEN if name == "huge" else {}) for name in NAMES]


@pytest.fixture(scope="module")
def liars(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, dict[str, Liar]]]:
    """The lanes with a third worker each, which is not what it says."""
    with contextlib.ExitStack() as stack:
        site = stack.enter_context(serve(tmp_path_factory.mktemp("liars"), LANES))
        made = {name: Liar(told, lambda: Told(ANSWER)) for name, told in PAGES.items()}
        made |= {name: Liar(lambda: page(IDLE), told) for name, told in ANSWERS.items()}
        of_another = next(one.url for one in site.fleet.workers if one.name == "mirror-1")
        made["mirror"] = Liar(
            lambda: page(httpx.get(f"{of_another}/metrics", trust_env=False).text), lambda: Told(ANSWER)
        )
        for liar in made.values():
            liar.start()
            stack.callback(liar.stop)
        files = folder_of(LANES, site.fleet)
        for backend in files["backends.yaml"]["backends"]:
            if backend["name"] in made:
                worker = {"name": f"{backend['name']}-liar", "url": made[backend["name"]].url, "max_num_seqs": 8}
                backend["upstreams"].append(worker)
        write_folder(site.folder, files)
        eventually(lambda: site.samples("gateway_upstream_up", upstream="html-liar"), "the policy with the liars")
        eventually(lambda: site.samples("gateway_upstream_running", upstream="huge-liar"), "they are scraped")
        yield site, made


def memory_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))


@pytest.mark.parametrize("name", [*PAGES, "mirror"])
def test_what_a_worker_says_of_itself_moves_nothing_of_the_others(
    liars: tuple[Site, dict[str, Liar]], name: str
) -> None:
    site, made = liars
    for _ in range(REQUESTS):
        answer = site.chat(name)
        assert answer.status_code == httpx.codes.OK, answer.text
        assert answer.headers["x-gateway-outcome"] == "local", "nobody is sent away for a lie"
    assert made[name].asked < REQUESTS, "it does not draw all traffic"
    for number in range(HONEST):
        row = {"upstream": f"{name}-{number + 1}"}
        assert site.metric("gateway_upstream_up", **row) == 1
        assert site.metric("gateway_upstream_outside_share", **row) == 0
        assert site.metric("gateway_upstream_limit_seconds", **row) == site.metric(
            "gateway_upstream_limit_seconds", upstream="empty-1"
        )
        assert 0 <= (site.metric("gateway_upstream_queue_depth", **row) or 0) < HONEST * REQUESTS


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_who_answers_garbage_at_once_is_left_alone(
    liars: tuple[Site, dict[str, Liar]], name: str, stream: bool
) -> None:
    """Always idle, it would be given most of the traffic."""
    site, made = liars
    before = made[name].asked
    for _ in range(REQUESTS):
        answer = site.chat(name, stream=stream)
        assert answer.status_code == httpx.codes.OK, answer.text
        if stream:
            assert "data: [DONE]" in answer.text
        else:
            assert answer.json()["choices"]
    assert made[name].asked - before <= MOST_TRIES
    for number in range(HONEST):
        assert site.metric("gateway_upstream_up", upstream=f"{name}-{number + 1}") == 1


def test_the_gateway_stays_small(liars: tuple[Site, dict[str, Liar]]) -> None:
    """Ten megabytes twice a second, and none of it is kept."""
    site, _ = liars
    before = memory_kb(site.gateway.pid)
    read = site.metric("gateway_requests_total")
    for _ in range(REQUESTS):
        assert site.chat("heavy").status_code == httpx.codes.OK
    assert memory_kb(site.gateway.pid) - before < MEMORY_KB
    assert (site.metric("gateway_requests_total") or 0) > (read or 0)


def test_retries_are_counted(liars: tuple[Site, dict[str, Liar]]) -> None:
    site, made = liars
    liar = made["fast-500"]
    eventually(lambda: site.chat("fast-500").status_code == httpx.codes.OK and liar.asked, "it is asked", 20.0)
    assert (site.metric("gateway_retries_total", result="taken") or 0) >= 1
