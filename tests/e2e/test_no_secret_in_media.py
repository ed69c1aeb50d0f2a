"""Pictures, sound, films and jobs: what their callers send and what their upstreams are paid with is said, written and
kept nowhere. Beside test_no_secret_anywhere.py, whose search this is."""

from __future__ import annotations

import base64
import json
import struct
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.money.keys import hash_key
from loadtests.stack import start_gateway
from tests.gateways import ZONES, eventually, write_folder
from tests.hook_receiver import hearing
from tests.leaks import files_in, found, stored
from tests.studio import Studio, picture, refuses, studio

SECRETS = {
    "gateway key": "gw-SecretKeyOfMedia0123456789",
    "pepper": "SecretPepperOfMedia0123456789",
    "jobs key": "SecretKeyOfTheJobs0123456789abcdef",
    "webhook secret": "SecretThatSignsHooks0123456789",
    "prompt": "SecretPromptOfAPicture0123456789",
    "words": "SecretWordsToBeSpoken0123456789",
    "picture": "SecretPatternOfAPicture0123456789",
    "file name": "SecretNameOfAFile0123456789",
    "address": "SecretAddressOfAPicture0123456789",
    "bearer": "sk-SecretBearer0123456789",
    "xi-api-key": "SecretOfTheVoices0123456789",
    "kling access": "SecretAccessOfKling0123456789",
    "kling secret": "SecretSigningOfKling0123456789",
}
PEM = (
    rsa.generate_private_key(public_exponent=65537, key_size=2048)
    .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    .decode()
)
BOUGHT = {
    "openai": ("image", "gpt-image-2", SECRETS["bearer"], {"per_image": 0.01}),
    "gmi": ("image", "gpt-image-2-generate", SECRETS["bearer"], {"per_image": 0.01}),
    "kling": ("video", "kling-v2-1", f"{SECRETS['kling access']}:{SECRETS['kling secret']}", {"per_second": 0.01}),
    "elevenlabs": ("audio", "eleven_v3", SECRETS["xi-api-key"], {"per_1k_chars": 0.01}),
    "vertex": ("video", "veo-3.1-lite-generate-001", "", {"per_second": 0.01}),
}
STATUSES = (500, 401, 403, 429, 503)
AS_CALLER = {"Authorization": f"Bearer {SECRETS['gateway key']}"}
IN_A_HURRY = {"X-Gateway-Deadline-Ms": "1500"}


class Echo(BaseHTTPRequestHandler):
    """It fails, and repeats all that it was sent, wherever it is asked."""

    asked: list[str]

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers.get("content-length", "0"))).decode("latin-1")
        self.asked.append(self.path)
        said = f"{self.path} {self.headers} {sent}"
        shown = {"error": {"message": said, "type": said, "code": said}, "message": said, "detail": {"message": said}}
        body = json.dumps(shown).encode()
        self.send_response(STATUSES[len(self.asked) % len(STATUSES)])
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Asked", (Echo,), {"asked": asked}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def secret_picture() -> bytes:
    """A whole one, with the secret in a chunk of text."""
    text = b"tEXt" + b"Comment\x00" + SECRETS["picture"].encode()
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    data = picture()
    return data[:33] + chunk + data[33:]


def folder(ours: str, theirs: str) -> dict[str, Any]:
    account = {"type": "service_account", "client_email": "a@p.example", "private_key": PEM}
    keys = {**{name: f"${{env:LEAK_{name.upper()}}}" for name in BOUGHT}, "vertex": "${file:account.json}"}
    calm = {"breaker": {"consecutive": 1000, "least": 1000}}
    worker = {"name": "w0", "url": ours, "max_num_seqs": 8, "engine": "openai"}
    gpu = {"name": "gpu", "kind": "local", "zone": "onprem", "gpu": {"kind": "H100", "usd_per_hour": 2.0}}
    backends = [{**gpu, "upstreams": [worker], **calm}]
    models = [("pic", "image", {"backend": "gpu", "as": "w"}), ("voice", "audio", {"backend": "gpu", "as": "w"})]
    for name, (kind, known, _, price) in BOUGHT.items():
        one = {"name": f"{name}-1", "url": theirs, "key": keys[name]}
        bought = {"name": name, "kind": "managed", "zone": "us", "dialect": name, "simulated": True}
        backends.append({**bought, "upstreams": [one], **calm})
        models.append((name, kind, {"backend": name, "as": known, "price": price}))
    return {
        "backends.yaml": {"zones": ZONES, "backends": backends},
        "models.yaml": {"models": [{"name": name, "modality": kind, "served_by": [by]} for name, kind, by in models]},
        "routing.yaml": {
            "rules": [
                {"name": name, "match": {"model": name}, "route": {"backends": [by["backend"]]}}
                for name, _, by in models
            ]
        },
        "tenants.yaml": {"tenants": [{"name": "acme", "keys": [hash_key(SECRETS["pepper"], SECRETS["gateway key"])]}]},
        "account.json": {**account, "token_uri": f"{theirs}/token"},
    }


class Stand:
    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        self.outputs: dict[str, bytes] = {}
        self.codes: set[int] = set()

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        answer = self.http.request(method, path, **more)
        self.outputs[f"{len(self.outputs)} {method} {path}"] = str(answer.headers).encode() + b"\n" + answer.content
        self.codes.add(answer.status_code)
        if "x-request-id" in answer.headers and method == "POST":
            self.outputs[f"receipt {len(self.outputs)}"] = self.http.get(
                f"/v1/gateway/receipts/{answer.headers['x-request-id']}"
            ).content
        return answer

    def job(self, path: str, headers: dict[str, str], **more: Any) -> dict[str, Any]:
        made = self.ask("POST", path, headers=headers, **more)
        assert made.status_code in (200, 202), made.text
        told: dict[str, Any] = self.ask("GET", f"/v1/gateway/jobs/{made.json()['id']}?wait=10").json()
        assert told["ended_at"], told
        self.ask("GET", f"/v1/gateway/jobs/{told['id']}/events")
        return told


def asked_of_ours(stand: Stand, ours: Studio, hook: str) -> None:
    """Who succeeds, and who fails at home."""
    image = base64.b64encode(secret_picture()).decode()
    ask = {"model": "pic", "prompt": SECRETS["prompt"], "image": image}
    for act in (None, refuses(500)):
        ours.acts[:] = [] if act is None else [act]
        stand.ask("POST", "/v1/images/generations", json=ask)
        stand.ask("POST", "/v1/audio/speech", json={"model": "voice", "voice": "a", "input": SECRETS["words"]})
        stand.ask("POST", "/v1/images/edits", data={**ask, "image": ""}, files=given(secret_picture()))
        told = stand.job("/v1/images/generations", {"X-Gateway-Webhook": hook}, json={**ask, "background": True})
        for one in told["artefacts"]:
            stand.ask("GET", one["url"])
    broken: list[dict[str, Any]] = [
        {"json": {**ask, "image": SECRETS["picture"]}},
        {"json": {**ask, "image": f"http://10.0.0.1/{SECRETS['address']}"}},
        {"json": {**ask, "size": SECRETS["prompt"]}},
        {"json": {**ask, "lora": {"path": SECRETS["address"]}}},
        {"content": b"--b\r\n" + SECRETS["prompt"].encode(), "headers": {"content-type": "multipart/form-data"}},
    ]
    for one in broken:
        assert stand.ask("POST", "/v1/images/generations", **one).status_code in (400, 415)
    stand.ask("POST", "/v1/images/edits", data=ask, files=given(SECRETS["picture"].encode()))


def given(data: bytes) -> dict[str, tuple[str, bytes, str]]:
    return {"image": (f"../../{SECRETS['file name']}.png", data, "image/png")}


def asked_of_theirs(stand: Stand) -> None:
    image = base64.b64encode(secret_picture()).decode()
    for name in ("openai", "gmi"):
        ask = {"model": name, "prompt": SECRETS["prompt"]}
        for _ in STATUSES:
            stand.ask("POST", "/v1/images/generations", json=ask, headers=IN_A_HURRY)
        stand.job("/v1/images/generations", IN_A_HURRY, json={**ask, "background": True})
    for _ in STATUSES:
        body = {"model": "elevenlabs", "voice": "rachel", "input": SECRETS["words"]}
        stand.ask("POST", "/v1/audio/speech", json=body, headers=IN_A_HURRY)
    for name in ("kling", "vertex"):
        film = {"model": name, "prompt": SECRETS["prompt"], "input_reference": f"data:image/png;base64,{image}"}
        stand.job("/v1/videos", IN_A_HURRY, json=film)


def test_nothing_of_media_is_said_written_or_kept(
    tmp_path: Path, echo: tuple[str, list[str]], ledger_kept: None, capfd: pytest.CaptureFixture[str]
) -> None:
    env = {
        **{f"LEAK_{name.upper()}": key for name, (_, _, key, _) in BOUGHT.items()},
        "GATEWAY_KEY_PEPPER": SECRETS["pepper"],
        "GATEWAY_JOBS_KEY": SECRETS["jobs key"],
        "GATEWAY_WEBHOOK_SECRET": SECRETS["webhook secret"],
        "GATEWAY_WEBHOOK_HOSTS": "127.0.0.1",
        "GATEWAY_ARTEFACTS_FLOOR": "0",
        "GATEWAY_LOG_LEVEL": "debug",
        "GATEWAY_TRACE_RATIO": "1",
    }
    url, asked = echo
    place, data, log = tmp_path / "policies", tmp_path / "data", tmp_path / "gateway.log"
    with studio() as ours, hearing(204) as heard:
        write_folder(place, folder(ours.url, url))
        with (
            start_gateway(place, data, env=env, log=log) as gateway,
            httpx.Client(base_url=gateway.url, headers=AS_CALLER, trust_env=False, timeout=30.0) as http,
        ):
            stand = Stand(http)
            asked_of_ours(stand, ours, heard.url)
            asked_of_theirs(stand)
            for path in ("/metrics", "/v1/gateway/jobs", "/v1/videos", "/v1/gateway/usage"):
                stand.ask("GET", path)
            eventually(lambda: len(heard.seen) == 2, "both ends are told", 10)
            with redis.Redis(unix_socket_path=str(data / "store.sock")) as client:
                kept = stored(client)
        said = capfd.readouterr()
        outputs = {**stand.outputs, **kept, **files_in(data), "stderr": log.read_bytes()}
        outputs |= {f"hook {at}": str(headers).encode() + raw for at, (headers, raw) in enumerate(heard.seen)}
        outputs |= {"stdout": said.out.encode() + said.err.encode()}
    lines = PEM.splitlines()
    secrets = {**SECRETS, "service account": lines[3], "its end": lines[-3]}
    assert any(place.endswith(".aof") and b"sealed" in content for place, content in outputs.items())
    assert found(secrets, outputs) == []
    assert {200, 202, 400} <= stand.codes
    assert stand.codes & {500, 502, 503, 504}, stand.codes
    sent = {part for path in asked for part in ("token", "text-to-speech", "requests", "image2video") if part in path}
    assert sent == {"token", "text-to-speech", "requests", "image2video"}, asked
