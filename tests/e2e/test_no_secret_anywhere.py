"""A gateway that is told many secrets, and nothing that it says, writes or keeps has one of them.

Successes and every error that a caller, an operator or an upstream can bring about are driven through real processes;
then all outputs are searched. The store may hold keyed hashes, and nothing else may.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import redis

from gateway.money.keys import hash_key
from loadtests.collector import Sink, collecting
from loadtests.stack import ROOT, start_gateway
from tests.e2e.issuer import Issuer, issuing
from tests.gateways import HASTY, Lane, Site, chat_body, eventually, folder_of, start_lanes, write_folder
from tests.leaks import files_in, found, stored

SECRETS = {
    "gateway key": "gw-SecretKeyOfTheFolder0123456789",
    "key of a stranger": "gw-SecretKeyOfAStranger0123456789",
    "admin key": "SecretAdminKey0123456789",
    "key of a would-be operator": "SecretWrongAdminKey0123456789",
    "upstream key": "sk-SecretUpstreamKey0123456789",
    "pepper": "SecretPepper0123456789",
    "policy key": "SecretPolicyKey0123456789",
    "audit key": "SecretAuditKey0123456789abcdefghij",
    "agent token": "SecretAgentToken0123456789",
    "worker token": "SecretWorkerToken0123456789",
    "prompt": "SecretPromptOfTheCaller0123456789",
    "webhook": "SecretWebhookPath0123456789",
    "webhook secret": "SecretThatSignsWebhooks0123456789",
    "passphrase": "SecretPassphraseOfTls0123456789",
    "query": "SecretInTheQuery0123456789",
    "session": "SecretSessionOfTheCaller0123456789",
    "key of the collector": "SecretKeyOfTheCollector0123456789",
    "address of keys": "SecretPathOfAnIssuer0123456789",
}
MADE_UP = "SecretNameOfAModel0123456789"
"""Where a caller says it instead of a model, its own receipt and its own answer tell it, and nothing else does."""
PROMPT = {"messages": [{"role": "user", "content": SECRETS["prompt"]}]}
AS_ADMIN = {"Authorization": f"Bearer {SECRETS['admin key']}"}
UPSTREAM, EXPECTS = ("${env:LEAK_UPSTREAM}",), {"api_key": SECRETS["upstream key"]}
LANES = [
    Lane("chat", seats=1, route={"max_wait": 0}, accounts=UPSTREAM, api=EXPECTS),
    Lane("bare", seats=1, cloud=False, route={"max_wait": 0}),
    Lane("echo", seats=1, route={"backends": ["echo-api"], "spill": None}, accounts=UPSTREAM),
]
OURS = frozenset({"store gw:{policy}:versions"})
"""Where the folder's own files are shared with other replicas, as they are: an address in them is no secret there."""
HASHED = OURS | {"store gw:{keys}:issued"}
"""Where keyed hashes lie."""
STORES = "appendonlydir/"
"""What the store writes down is what it holds."""


class Echo(BaseHTTPRequestHandler):
    """An API at its worst: it fails, and repeats all that it was sent while it does. Of a 400, which goes on to the
    caller as it is, it repeats what the caller has sent."""

    protocol_version = "HTTP/1.1"
    statuses: tuple[int, ...] = (500, 401, 403, 429, 503, 400, 200)
    asked = 0
    paths: set[str] = set()  # noqa: RUF012 - of one test

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        status = Echo.statuses[Echo.asked % len(Echo.statuses)]
        Echo.asked += 1
        Echo.paths.add(self.path)
        said = sent.decode() + ("" if status == 400 else str(self.headers))
        body = json.dumps({"error": {"message": said, "type": said, "code": said}} if status != 200 else said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing: only the gateway's outputs are looked at."""


@contextlib.contextmanager
def echoing() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


class Stand:
    """A site whose answers are all kept, to be searched. `told` are secrets that came up on the way, `hashes`
    the keyed ones of keys that are good."""

    def __init__(self, site: Site, issuer: Issuer) -> None:
        self.site, self.issuer = site, issuer
        self.outputs: dict[str, bytes] = {}
        self.told = dict(SECRETS)
        self.hashes = {"hash of the gateway key": hashed("gateway key")}
        self.codes: set[str | int] = set()
        self.ids: list[str] = []

    def ask(self, method: str, path: str, key: str | None = SECRETS["gateway key"], **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} if key is not None else {"Authorization": ""}
        given = {**headers, **more.pop("headers", {})}
        answer = self.site.http.request(method, path, headers=given, **more)
        place = f"answer {len(self.outputs)} {method} {path}"
        self.outputs[place] = b"%d %b\n%b" % (answer.status_code, str(answer.headers).encode(), answer.content)
        self.codes.add(answer.status_code)
        if path.startswith("/v1/chat") and answer.status_code != 401:  # strangers get no receipt
            self.ids.append(answer.headers["x-request-id"])
        with contextlib.suppress(ValueError, KeyError, TypeError):
            self.codes.add(answer.json()["error"]["code"])
        return answer

    def chat(self, model: str = "chat", key: str | None = SECRETS["gateway key"], **more: Any) -> httpx.Response:
        given = {name: more.pop(name) for name in ("headers", "params") if name in more}
        return self.ask("POST", "/v1/chat/completions", key, json={**chat_body(model), **PROMPT, **more}, **given)

    def admin(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self.ask(method, f"/admin/v1/{path}", SECRETS["admin key"], **more)

    def made(self, answer: httpx.Response, name: str) -> str:
        """A secret that is told this once."""
        self.outputs.popitem()
        self.told[name] = secret = str(answer.json()["key"])
        self.hashes[f"hash of the {name}"] = hash_key(SECRETS["pepper"], secret)
        return secret

    def token(self, name: str, signer: int = 0, **claims: Any) -> str:
        token = self.issuer.token(signer, **claims)
        self.told |= {f"{name}, part {number}": part for number, part in enumerate(token.split(".")) if number}
        return token


@pytest.fixture
def sink() -> Iterator[Sink]:
    with collecting() as made:
        yield made


@pytest.fixture
def stand(ledger_kept: None, tmp_path: Path, capfd: pytest.CaptureFixture[str], sink: Sink) -> Iterator[Stand]:
    """`capfd` comes first, so that the gateway's stdout is among what it sees."""
    env = {
        "GATEWAY_KEY_PEPPER": SECRETS["pepper"],
        "GATEWAY_ADMIN_KEY": SECRETS["admin key"],
        "GATEWAY_POLICY_KEY": SECRETS["policy key"],
        "GATEWAY_AUDIT_KEY": SECRETS["audit key"],
        "GATEWAY_AGENT_TOKEN": SECRETS["agent token"],
        "GATEWAY_WORKER_TOKEN": SECRETS["worker token"],
        "GATEWAY_WEBHOOK_SECRET": SECRETS["webhook secret"],
        "GATEWAY_TLS_KEY_PASSWORD": SECRETS["passphrase"],
        "LEAK_UPSTREAM": SECRETS["upstream key"],
        "GATEWAY_LOG_LEVEL": "debug",
        "GATEWAY_TRACE_RATIO": "1",
        "GATEWAY_OTLP_ENDPOINT": sink.url,
        "GATEWAY_OTLP_HEADERS": f"authorization={SECRETS['key of the collector']}",
        "GATEWAY_OTLP_SECONDS": "0.5",
        "GATEWAY_SEMCONV": "both",
        "GATEWAY_ACCESS_LOG": "true",
    }
    with (
        echoing() as url,
        issuing() as issuer,
        issuing() as broken,
        start_lanes(LANES) as fleet,
    ):
        files = folder_of(LANES, fleet)
        next(one for one in files["backends.yaml"]["backends"] if one["name"] == "echo-api")["upstreams"][0]["url"] = (
            url
        )
        webhook = f"{url}/{SECRETS['webhook']}"
        budget = {"usd": 0.0001, "per": "day", "hard": False, "local": True, "warn_at": [1], "webhook": webhook}
        tenant = {"name": "acme", "keys": [{"hash": hashed("gateway key"), "id": "folder"}], "budgets": [budget]}
        broken.keys_url = f"https://127.0.0.1:99999/{SECRETS['address of keys']}"
        files["tenants.yaml"] = {"tenants": [tenant], "oidc": [issuer.policy(), broken.policy(name="broken")]}
        folder, data, log = tmp_path / "policies", tmp_path / "data", tmp_path / "gateway.log"
        write_folder(folder, files)
        with (
            start_gateway(folder, data, env=env, log=log) as gateway,
            httpx.Client(base_url=gateway.url, trust_env=False, timeout=20.0) as http,
        ):
            site = Site(gateway, fleet, folder, data, log, http)
            eventually(lambda: len(site.samples("gateway_upstream_running")) == len(LANES), "readings")
            yield Stand(site, issuer)


def hashed(name: str) -> str:
    return hash_key(SECRETS["pepper"], SECRETS[name])


def callers(stand: Stand) -> None:
    """Everybody who is answered, and everybody who is not."""
    bare = {"x-api-key": SECRETS["gateway key"]}
    assert stand.chat().status_code == 200
    assert stand.chat(key=None, headers=bare).status_code == 200
    assert "[DONE]" in stand.chat(stream=True).text
    made = stand.made(stand.admin("POST", "keys", json={"tenant": "acme", "id": "late"}), "key made at run time")
    assert stand.chat(key=made).status_code == 200
    again = stand.made(stand.admin("POST", "keys/late/rotate", json={"grace_s": 0}), "rotated key")
    assert [stand.chat(key=key).status_code for key in (made, again)] == [401, 200]
    stand.admin("DELETE", "keys/late")
    assert stand.chat(key=again).status_code == 401
    eventually(lambda: stand.chat(key=stand.token("token")).status_code == 200, "the keys of the issuer")
    for signer, claims in ((0, {"exp": 1}), (1, {"aud": "another"}), (1, {"org": "nobody"}), (0, {"iss": "x"})):
        assert stand.chat(key=stand.token(f"bad token {claims}", signer, **claims)).status_code == 401
    assert stand.chat(key=stand.token("long token", more="x" * 9000)).status_code == 401
    for key in (SECRETS["key of a stranger"], f"{SECRETS['key of a stranger']}.a.b", None):
        assert stand.chat(key=key).status_code == 401
    assert stand.chat(params={"api_key": SECRETS["query"]}).status_code == 200
    with stand.site.sdk(SECRETS["key of a stranger"]) as client, pytest.raises(openai.AuthenticationError) as refused:
        client.chat.completions.create(**{**chat_body("chat"), **PROMPT})
    stand.outputs["error of the SDK"] = f"{refused.value!r} {refused.value.body}".encode()


def refusals(stand: Stand) -> None:
    """4xx about what is asked, and about load and money."""
    for body in (b"{" + SECRETS["prompt"].encode(), json.dumps([SECRETS["prompt"]]).encode(), b"\xff"):
        stand.ask("POST", "/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    stand.chat(messages=SECRETS["prompt"])
    stand.chat(model="nobody")
    stand.chat(model=MADE_UP)
    stand.chat(headers={"X-Gateway-Session": SECRETS["session"], "baggage": f"user={SECRETS['session']}"})
    stand.chat(max_tokens=SECRETS["prompt"])
    stand.chat(stream=SECRETS["prompt"])
    for header in ("X-Gateway-Priority", "X-Gateway-Max-Cost-Usd", "X-Gateway-Deadline-Ms", "X-Gateway-Pipeline"):
        stand.chat(headers={header: f"{SECRETS['gateway key']} x"})
    stand.chat(headers={"X-Data-Residency": "local"})
    stand.ask("GET", "/v1/chat/completions")
    stand.ask("GET", "/v1/nowhere", params={"key": SECRETS["query"]})
    stand.chat("echo", headers={"X-Gateway-Max-Cost-Usd": "0"})
    with stand.site.stream("bare", AS_CALLER, max_tokens=4000, ignore_eos=True) as (_, lines):
        next(lines)
        stand.chat("bare", headers=HASTY)
    stand.chat("bare", headers={"X-Gateway-Deadline-Ms": "1"}, max_tokens=4000, ignore_eos=True)


AS_CALLER = {"Authorization": f"Bearer {SECRETS['gateway key']}"}


def failures(stand: Stand) -> None:
    """Upstreams that fail in every way, and repeat what they were sent."""
    for _ in range(3 * len(Echo.statuses)):
        answer = stand.chat("echo")
        if answer.status_code == 400:  # the API's own words to its caller, passed on as they are
            place, whole = stand.outputs.popitem()
            stand.outputs[place] = whole.replace(SECRETS["prompt"].encode(), b"")
    assert Echo.asked
    stand.site.fleet.config("bare-1", error_rate=1.0)
    stand.chat("bare")
    stand.site.fleet.config("bare-1", clear=True)
    stand.site.fleet.config("bare-1", drop_mid_stream={"after_frames": 1})
    stand.chat("bare", stream=True, max_tokens=50)
    stand.site.fleet.config("bare-1", clear=True)


def operators(stand: Stand) -> None:
    """Every page for operators, and what they do wrong."""
    pages = ("status", "policies", "policies/rollout", "workers", "gpus", "keys", "keys/folder", "keys/nobody")
    for page in pages:
        stand.admin("GET", page)
        stand.ask("GET", f"/admin/v1/{page}", SECRETS["key of a would-be operator"])
    faults = [one["fault"] for one in stand.admin("GET", "keys").json()["issuers"]]
    assert faults[0] is None
    assert "does not answer" in faults[1]
    for page in ("budgets", "ledger", "ledger?by=key"):
        stand.admin("GET", page)
    stand.ask("GET", "/v1/gateway/usage")
    for path in ("/metrics", "/openapi.json", "/healthz", "/readyz", "/readyz?detail=1", "/dashboard"):
        stand.ask("GET", path, SECRETS["admin key"])
    stand.admin("POST", "explain", json={"tenant": "acme", "body": {**chat_body("chat"), **PROMPT}})
    stand.admin("POST", "explain", json={"tenant": SECRETS["prompt"][:5], "body": PROMPT})
    stand.admin("POST", "keys", json={"tenant": "acme", "id": "x", "colour": SECRETS["gateway key"]})
    stand.admin("POST", "keys", json={"tenant": "acme", "priority": SECRETS["gateway key"]})
    stand.admin("POST", "keys", json={"tenant": "acme", "id": "folder"})
    stand.admin("POST", "policies/rollout", json={"mode": "shadow", "files": {"tenants.yaml": SECRETS["gateway key"]}})
    file = stand.site.folder / "tenants.yaml"
    good = file.read_text()
    file.write_text(good.replace(hashed("gateway key"), SECRETS["gateway key"]))
    assert stand.admin("POST", "policies/reload").status_code == 422
    file.write_text(good)
    assert stand.admin("POST", "policies/reload").status_code == 200
    for token in (SECRETS["worker token"], SECRETS["key of a stranger"]):
        stand.ask("POST", "/admin/v1/workers", token, json={"backend": "chat", "url": "http://127.0.0.1:9"})
    for token in (SECRETS["agent token"], SECRETS["key of a stranger"]):
        stand.ask("POST", "/admin/v1/gpus", token, json={"host": "h", "gpus": []})


def commands(stand: Stand) -> None:
    """What is typed, and a start that fails over a secret."""
    usual = {"GATEWAY_URL": stand.site.gateway.url, "GATEWAY_ADMIN_KEY": SECRETS["admin key"]}
    wrong = {"GATEWAY_ADMIN_KEY": SECRETS["key of a would-be operator"]}
    pepper = {"GATEWAY_KEY_PEPPER": SECRETS["pepper"]}
    store = {"GATEWAY_REDIS_URL": f"redis://:{SECRETS['key of a stranger']}@127.0.0.1:1", **pepper}
    typed: list[tuple[list[str], dict[str, str]]] = [
        (["keys", "list", "--json"], usual),
        (["keys", "list"], {**usual, **wrong}),
        (["keys", "show", "folder"], usual),
        (["check", str(stand.site.folder)], {"LEAK_UPSTREAM": SECRETS["upstream key"]}),
        (["serve", "--policies", str(stand.site.folder)], {**store, "LEAK_UPSTREAM": SECRETS["upstream key"]}),
        (["serve"], {"GATEWAY_AGENT_TOKEN": "x", "GATEWAY_LOG_LEVEL": SECRETS["query"]}),
    ]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "gateway", *words],
            cwd=ROOT,
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for words, env in typed
    ]
    for (words, _), one in zip(typed, running, strict=True):
        said, _ = one.communicate(timeout=30)
        assert said
        stand.outputs[f"command {' '.join(words)}"] = said


def receipts(stand: Stand) -> None:
    """Of every answer that has one."""
    kept = [stand.ask("GET", f"/v1/gateway/receipts/{id}") for id in stand.ids]
    assert sum(one.status_code == 200 for one in kept) > 10


def test_no_secret_is_said_written_or_kept(stand: Stand, sink: Sink, capfd: pytest.CaptureFixture[str]) -> None:
    for part in (callers, refusals, failures, operators, commands, receipts):
        part(stand)
    eventually(lambda: f"/v1/{SECRETS['webhook']}" in Echo.paths, "a post to the webhook", 20)
    assert {400, 401, 402, 403, 404, 405, 409, 422, 429} <= stand.codes, stand.codes
    assert stand.codes & {500, 502, 503, 504}
    outputs = {**stand.outputs, "stderr": stand.site.log.read_bytes()}
    said = capfd.readouterr()
    outputs |= {"stdout": said.out.encode() + said.err.encode()}
    assert len(stand.hashes) == 3
    assert found({**stand.told, **stand.hashes}, outputs) == []
    with redis.Redis(unix_socket_path=str(stand.site.data / "store.sock")) as client:
        kept = stored(client)
    assert {"store gw:{keys}:issued", "store gw:{receipts}:data"} <= kept.keys()
    outside = {name: secret for name, secret in stand.told.items() if name != "webhook"}
    assert found(outside, {**kept, **files_in(stand.site.data)}) == []
    assert found({"webhook": SECRETS["webhook"]}, {place: kept[place] for place in kept.keys() - OURS}) == []
    assert found(stand.hashes, {place: kept[place] for place in kept.keys() - HASHED}) == []
    beside = {place: content for place, content in files_in(stand.site.data).items() if STORES not in place}
    assert found(stand.hashes, beside) == []
    stand.site.gateway.stop()
    assert {"/v1/traces", "/v1/metrics"} == {post.path for post in sink.posts}
    assert '"event": "request"' in stand.site.log.read_text()
    exported = {f"{number} {post.path}": post.body for number, post in enumerate(sink.posts)}
    assert found({**stand.told, **stand.hashes}, exported) == []
    pages = {place: body for place, body in outputs.items() if "/metrics" in place or place == "stderr"}
    assert len(pages) > 1
    assert found({"made-up model": MADE_UP}, {**exported, **pages, "log": stand.site.log.read_bytes()}) == []
    assert found({**stand.told, **stand.hashes}, {"stderr": stand.site.log.read_bytes()}) == []
