"""What the clients are tried on: one gateway, one simulated fleet, and a door by which a client asks for a full house.

    with stand(place) as made:
        subprocess.run([...], env=made.env)

A `POST` to the door takes the only seat of model `busy`. The seat is given back as soon as the gateway has turned a
request away, so a client that tries again as it was told is served by its second attempt, however slow the machine is.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from tests.gateways import KEY, Lane, Site, eventually, serve

SLOW: Final = {"step_ms": 50.0}
"""A stream of 4,000 tokens lasts longer than any client's turn."""
CLAUDE: Final = "claude-sonnet-4-5-20250929"
"""LlamaIndex asks Anthropic's API for nothing but names of Anthropic."""
LANES: Final = [
    Lane("chat", workers=2, seats=64),
    Lane(CLAUDE, cloud=False),
    Lane("full", seats=1, cloud=False, sim=SLOW, route={"max_wait": 0}),
    Lane("busy", seats=1, cloud=False, sim=SLOW, route={"max_wait": 0}),
    Lane("down", cloud=False),
    Lane(
        "pic",
        cloud=False,
        model={"modality": "image"},
        worker={"engine": "vllm-omni"},
        sim={"engine": "vllm-omni", "unit_s": 0.02},
    ),
]
"""`chat` works, `full` has no room (429), `down` nobody who works (503), `busy` is full when a client asks for it."""


@dataclass(frozen=True, slots=True)
class Stand:
    site: Site
    door: str

    @property
    def env(self) -> Mapping[str, str]:
        """What a program is told (programs/features.py, node/features.mjs)."""
        return {"GATEWAY_URL": self.site.gateway.url, "GATEWAY_KEY": KEY, "DOOR_URL": self.door}


@contextmanager
def stand(place: Path) -> Iterator[Stand]:
    with serve(place, LANES) as site:
        drained = site.http.post("/admin/v1/workers/down-1/drain", json={"reason": "for the test of 503"})
        assert drained.is_success, drained.text
        with site.occupied("full"), door(site) as url:
            yield Stand(site, url)


@contextmanager
def door(site: Site) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Door)
    server.daemon_threads = True
    server.site, server.turns = site, threading.Semaphore()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Full when it answers, which is with the Retry-After that the gateway gives just now."""
        site: Site = self.server.site  # type: ignore[attr-defined]
        eventually(lambda: site.leases("busy") == 0, "the seat of the turn before is free")
        seat = ExitStack()
        seat.enter_context(site.occupied("busy"))
        told = site.chat("busy").headers["retry-after"]
        before = _turned_away(site)
        threading.Thread(target=_leave, args=(site, seat, before), daemon=True).start()
        raw = json.dumps({"retry_after": int(told)}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _leave(site: Site, seat: ExitStack, before: float) -> None:
    with seat, suppress(AssertionError):  # who never asks fails by itself
        eventually(lambda: _turned_away(site) > before, "a request turned away", within=20.0)


def _turned_away(site: Site) -> float:
    return site.metric("gateway_requests_total", outcome="refused", reason="fleet_saturated") or 0.0
