"""Upstreams that make pictures and speech, on sockets of their own: what each next request gets is the test's."""

from __future__ import annotations

import base64
import contextlib
import email
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from gateway.money.keys import hash_key
from loadtests.stack import start_gateway
from tests.gateways import KEY, PEPPER, ZONES, Site, write_folder

IMAGE_PRICE, VOICE_PRICE = {"per_image": 0.04}, {"per_1k_chars": 0.015}
PICTURE_USAGE = {
    "input_tokens": 12,
    "output_tokens": 1056,
    "total_tokens": 1068,
    "input_tokens_details": {"text_tokens": 12, "image_tokens": 0},
}
SOUND = bytes(range(256)) * 400


@lru_cache
def picture(kind: str = "PNG", width: int = 32, height: int = 16) -> bytes:
    out = BytesIO()
    Image.effect_noise((width, height), 50).convert("RGB").save(out, kind)
    return out.getvalue()


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it came. Of a form: `fields` by name, `files` in their order as (name, file name, type, bytes)."""

    path: str
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.raw)
        return found

    @property
    def form(self) -> tuple[dict[str, list[str]], list[tuple[str, str, str, bytes]]]:
        message = email.message_from_bytes(
            b"content-type: " + self.headers["content-type"].encode() + b"\r\n\r\n" + self.raw
        )
        fields: dict[str, list[str]] = {}
        files = []
        for part in message.walk():
            name, data = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
            if not isinstance(name, str) or not isinstance(data, bytes):
                continue
            if part.get_filename() is None:
                fields.setdefault(name, []).append(data.decode())
            else:
                files.append((name, str(part.get_filename()), part.get_content_type(), data))
        return fields, files


Act = Callable[["Handler", Seen], None]


@dataclass(slots=True)
class Studio:
    """`acts` are played for the next requests, in their order; then everything works as usual."""

    acts: list[Act] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    studio: Studio

    def do_POST(self) -> None:
        raw = self._chunks() if "transfer-encoding" in self.headers else self._whole()
        seen = Seen(self.path, {name.lower(): value for name, value in self.headers.items()}, raw)
        self.studio.seen.append(seen)
        act = self.studio.acts.pop(0) if self.studio.acts else usual
        with contextlib.suppress(ConnectionError):
            act(self, seen)

    def _whole(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length", "0")))

    def _chunks(self) -> bytes:
        """Of an upload that passes through the gateway."""
        made = b""
        while size := int(self.rfile.readline() or b"0", 16):
            made += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return made

    def do_GET(self) -> None:
        self.whole(404, b'{"error":{"message":"no such path"}}')

    def log_message(self, format: str, *args: object) -> None:
        pass

    def whole(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def begin(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def piece(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def end(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    def die(self) -> None:
        self.close_connection = True
        self.connection.shutdown(2)


def usual(handler: Handler, seen: Seen) -> None:
    if seen.path.endswith("/audio/speech"):
        asked = seen.json
        (spoken_events if asked.get("stream_format") == "sse" else spoken)(handler, seen)
    else:
        n, stream = _asked(seen)
        (painted_events if stream else painted(n))(handler, seen)


def _asked(seen: Seen) -> tuple[int, bool]:
    if seen.headers["content-type"].startswith("multipart/"):
        fields, _ = seen.form
        return int(fields.get("n", ["1"])[0]), fields.get("stream") == ["true"]
    return seen.json.get("n") or 1, seen.json.get("stream") is True


def answer_of(n: int, data: bytes | None = None, **more: Any) -> bytes:
    one = {"b64_json": base64.b64encode(picture() if data is None else data).decode()}
    return json.dumps({"created": 1, "data": [one] * n, "usage": PICTURE_USAGE, **more}).encode()


def painted(n: int = 1, data: bytes | None = None, **more: Any) -> Act:
    return lambda handler, seen: handler.whole(200, answer_of(n, data, **more))


def events(kind: str, partials: int, data: bytes) -> list[bytes]:
    b64 = base64.b64encode(data).decode()
    made = [{"type": f"{kind}.partial_image", "partial_image_index": at, "b64_json": b64} for at in range(partials)]
    made.append({"type": f"{kind}.completed", "b64_json": b64, "usage": PICTURE_USAGE})
    common = {"created_at": 1, "size": "1024x1024", "quality": "high", "background": "opaque", "output_format": "png"}
    return [f"event: {one['type']}\ndata: {json.dumps({**one, **common})}\n\n".encode() for one in made]


def painted_events(handler: Handler, seen: Seen, data: bytes | None = None, upto: int | None = None) -> None:
    form = seen.headers["content-type"].startswith("multipart/")
    partials = int(seen.form[0].get("partial_images", ["0"])[0]) if form else seen.json.get("partial_images") or 0
    handler.begin("text/event-stream")
    for event in events("image_edit" if form else "image_generation", partials, data or picture())[:upto]:
        half = len(event) // 2
        handler.piece(event[:half])
        handler.piece(event[half:])
    if upto is None:
        handler.end()
    else:
        handler.die()


def spoken(handler: Handler, seen: Seen, kind: str = "audio/mpeg", upto: int | None = None) -> None:
    handler.begin(kind)
    for at in range(0, len(SOUND), 8192)[:upto]:
        handler.piece(SOUND[at : at + 8192])
    if upto is None:
        handler.end()
    else:
        handler.die()


def spoken_events(handler: Handler, seen: Seen) -> None:
    handler.begin("text/event-stream")
    for at in range(0, len(SOUND), 8192):
        event = {"type": "speech.audio.delta", "audio": base64.b64encode(SOUND[at : at + 8192]).decode()}
        handler.piece(f"data: {json.dumps(event)}\n\n".encode())
    usage = {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115}
    handler.piece(f"data: {json.dumps({'type': 'speech.audio.done', 'usage': usage})}\n\n".encode())
    handler.end()


def refuses(status: int, code: str = "server_error") -> Act:
    body = json.dumps({"error": {"message": "no", "type": code, "code": code}}).encode()
    return lambda handler, seen: handler.whole(status, body)


def dies(handler: Handler, seen: Seen) -> None:
    """After the whole request, before a byte of the answer: nobody knows what it cost."""
    handler.die()


def after(seconds: float, act: Act) -> Act:
    def late(handler: Handler, seen: Seen) -> None:
        time.sleep(seconds)  # the upstream's own pace, which is what is tested
        act(handler, seen)

    return late


@contextlib.contextmanager
def studio() -> Iterator[Studio]:
    made = Studio()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"studio": made}))
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(slots=True)
class Gallery:
    """`ours` are two workers of backend `gpu`, `theirs` the bought API `api`. Models: `pic` and `voice` at home,
    `pic-api` and `voice-api` bought, `pic-both` and `voice-both` at home and then bought;
    `pic-few` and `voice-few` at home, which can do little."""

    site: Site
    ours: tuple[Studio, Studio]
    theirs: Studio

    def rehearse(self) -> None:
        for one in (*self.ours, self.theirs):
            one.acts.clear()
            one.seen.clear()

    @property
    def seen(self) -> list[Seen]:
        return [one for studio in (*self.ours, self.theirs) for one in studio.seen]


def files(ours: tuple[Studio, Studio], theirs: Studio) -> dict[str, Any]:
    workers = [{"name": f"w{at}", "url": one.url, "max_num_seqs": 8, "engine": "openai"} for at, one in enumerate(ours)]
    gpu = {"kind": "H100", "usd_per_hour": 2.0}
    api = {"name": "api", "url": f"{theirs.url}/v1", "key": "secret-of-the-api"}
    home = {"backend": "gpu", "as": "weights"}
    calm = {"breaker": {"consecutive": 1000, "least": 1000}}

    def bought(price: Mapping[str, Any]) -> dict[str, Any]:
        return {"backend": "api", "as": "gpt-image-2", "price": price}

    can = {
        "sizes": ["512x512"],
        "qualities": ["low"],
        "formats": ["png"],
        "n": 2,
        "prompt_characters": 9,
        "mask": False,
    }
    served = {
        "pic": ("image", [home]),
        "pic-few": ("image", [{**home, "can": {**can, "images": [0, 1], "streams": False}}]),
        "voice-few": ("audio", [{**home, "can": {"voices": ["alloy"], "formats": ["wav"], "prompt_characters": 9}}]),
        "voice": ("audio", [home]),
        "pic-api": ("image", [bought(IMAGE_PRICE)]),
        "voice-api": ("audio", [bought(VOICE_PRICE)]),
        "pic-both": ("image", [home, bought(IMAGE_PRICE)]),
        "voice-both": ("audio", [home, bought(VOICE_PRICE)]),
    }
    rules = [
        {
            "name": name,
            "match": {"model": name},
            "route": {"backends": list(dict.fromkeys(one["backend"] for one in by))},
        }
        for name, (_, by) in served.items()
    ]
    return {
        "backends.yaml": {
            "zones": ZONES,
            "backends": [
                {"name": "gpu", "kind": "local", "zone": "onprem", "gpu": gpu, "upstreams": workers, **calm},
                {"name": "api", "kind": "managed", "zone": "us", "simulated": True, "upstreams": [api], **calm},
            ],
        },
        "models.yaml": {
            "models": [{"name": name, "modality": kind, "served_by": by} for name, (kind, by) in served.items()]
        },
        "routing.yaml": {"rules": rules},
        "tenants.yaml": {"tenants": [{"name": "acme", "keys": [hash_key(PEPPER, KEY)]}]},
    }


@contextlib.contextmanager
def gallery(place: Path, env: Mapping[str, str] | None = None) -> Iterator[Gallery]:
    with studio() as first, studio() as second, studio() as third:
        write_folder(place / "policies", files((first, second), third))
        log, headers = place / "gateway.log", {"Authorization": f"Bearer {KEY}"}
        values = {"GATEWAY_KEY_PEPPER": PEPPER, **(env or {})}
        with (
            start_gateway(place / "policies", place / "data", env=values, log=log) as gateway,
            httpx.Client(base_url=gateway.url, headers=headers, trust_env=False, timeout=20.0) as http,
        ):
            site = Site(gateway, None, place / "policies", place / "data", log, http)  # type: ignore[arg-type]
            yield Gallery(site, (first, second), third)
