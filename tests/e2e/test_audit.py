"""What leaves under a demand is written down before it leaves, and the record proves itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from gateway.cli.audit import audit as command
from loadtests.stack import start_gateway
from tests.gateways import EU_KEY, KEY, LOCAL, PEPPER, Lane, Site, chat_body, eventually, gateway_on, serve, start_lanes

LANES = [
    Lane("one", seats=16, flagged={"max_wait": 0}),
    Lane("down", cloud=False),
    Lane("abroad", backend={"zone": "us"}),
]


def entries(data: Path) -> list[dict[str, Any]]:
    """All whole lines of all chains of entries, in order."""
    found = []
    for path in sorted((data / "audit").glob("chain-*")):
        found += [json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    return found


def audit(*words: str) -> Result:
    return CliRunner().invoke(command, words)


class Watching(BaseHTTPRequestHandler):
    """A worker that looks into the audit as soon as a request is there."""

    data: Path
    seen: list[list[dict[str, Any]]]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.seen.append(entries(self.data))
        self.rfile.read(int(self.headers["content-length"]))
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        body = json.dumps({"id": "x", "object": "chat.completion", "choices": [], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def watching(data: Path) -> Iterator[tuple[str, list[list[dict[str, Any]]]]]:
    handler = type("Handler", (Watching,), {"data": data, "seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler.seen  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_entry_is_there_before_the_worker_has_the_request(tmp_path: Path) -> None:
    with watching(tmp_path / "data") as (url, seen):
        lane = Lane("one", cloud=False, worker={"url": url, "engine": "openai"})
        with serve(tmp_path, [lane]) as site:
            for number in range(1, 6):
                answer = site.chat("one", LOCAL)
                assert answer.status_code == 200
                assert len(seen) == number
                assert [entry["request"] for entry in seen[-1]][-1] == answer.headers["x-request-id"]
            assert site.chat("one").status_code == 200
            assert len(seen[-1]) == 5, "what is under no demand is not audited"
    first = seen[-1][0]
    assert {name: first[name] for name in ("what", "tenant", "demand", "by", "allowed", "upstream", "zone")} == {
        "what": "sent",
        "tenant": "acme",
        "demand": ["local"],
        "by": ["header"],
        "allowed": ["one-1"],
        "upstream": "one-1",
        "zone": "onprem",
    }
    assert "hello" not in json.dumps(seen[-1])


def test_refusals_and_all_who_demanded(site: Site) -> None:
    before = len(entries(site.data))
    eu = {"Authorization": f"Bearer {EU_KEY}"}
    answers = [
        site.chat("one", {**LOCAL, **eu}, metadata={"data_residency": "de"}),
        site.chat("abroad", {"X-Data-Residency": "eu"}),
        site.chat("one", {"X-Data-Residency": "mars"}),
        site.chat("one", metadata={"data_residency": "mars"}),
        site.chat("one"),
    ]
    assert [answer.status_code for answer in answers] == [200, 403, 400, 400, 200]
    told = [
        (entry["what"], entry.get("error"), entry["demand"], entry["by"], entry["request"])
        for entry in entries(site.data)[before:]
    ]
    names = [answer.headers["x-request-id"] for answer in answers]
    assert told == [
        ("sent", None, ["local", "de", "eu"], ["header", "metadata", "tenant"], names[0]),
        ("refused", "residency_refused", ["eu"], ["header"], names[1]),
        ("refused", "residency_unknown", [], ["header"], names[2]),
        ("refused", "residency_unknown", [], ["metadata"], names[3]),
    ]


@pytest.mark.parametrize(
    ("headers", "body", "demand", "by", "model"),
    [
        ({"X-Gateway-Priority": "junk"}, {"metadata": {"data_residency": "de"}}, ["de"], ["metadata"], "one"),
        ({"X-Gateway-Priority": "junk", **LOCAL}, {}, ["local"], ["header"], "one"),
        ({}, {"metadata": {"data_residency": "local"}, "max_tokens": "many"}, ["local"], ["metadata"], "one"),
        ({}, {"metadata": {"data_residency": 7}, "max_tokens": "many"}, [], ["metadata"], "one"),
        ({}, {"metadata": {"data_residency": "local"}, "model": "secret"}, ["local"], ["metadata"], None),
    ],
)
def test_refusals_for_another_reason_are_told_too(
    site: Site, headers: dict[str, str], body: dict[str, Any], demand: list[str], by: list[str], model: str | None
) -> None:
    before = len(entries(site.data))
    answer = site.chat(body.pop("model", "one"), headers, **body)
    assert 400 <= answer.status_code < 500
    (told,) = entries(site.data)[before:]
    assert (told["what"], told["demand"], told["by"], told["model"]) == ("refused", demand, by, model)
    assert "secret" not in json.dumps(told)


def test_retries_are_written_one_by_one(site: Site) -> None:
    site.fleet.config("down-1", error_rate=1.0)
    answer = site.chat("down", LOCAL)
    mine = [entry for entry in entries(site.data) if entry["request"] == answer.headers["x-request-id"]]
    attempts = site.receipt(answer)["attempts"]
    assert [entry["upstream"] for entry in mine if entry["what"] == "sent"] == [row["upstream"] for row in attempts]
    assert (mine[-1]["what"], mine[-1]["rule"], mine[-1]["model"]) == ("refused", mine[0]["rule"], "down")


def test_what_cannot_be_written_does_not_leave(tmp_path: Path) -> None:
    with serve(tmp_path, LANES) as site:
        folder, aside = site.data / "audit", site.data / "aside"
        folder.rename(aside)
        folder.touch()
        refused = site.chat("one", LOCAL)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "audit_unavailable")
        assert int(refused.headers["retry-after"]) >= 1
        assert site.fleet.requests("one-1") == []
        assert site.chat("one").status_code == 200
        assert site.metric("gateway_audit_entries_total", what="lost") >= 1
        folder.unlink()
        aside.rename(folder)
        assert site.chat("one", LOCAL).status_code == 200
        site.quiet("one")
    told = audit("verify", str(folder))
    assert (told.exit_code, told.stderr) == (0, "")


def test_killed_in_the_midst_of_it_and_started_again(tmp_path: Path) -> None:
    """Two processes, SIGKILL under load: each chain is whole, and all that a worker received is in one of them."""
    data, env = tmp_path / "data", {"GATEWAY_KEY_PEPPER": PEPPER, "GATEWAY_WORKERS": "2"}
    alone = {**env, "GATEWAY_WORKERS": "1"}

    def load(site: Site) -> None:
        headers = {**LOCAL, "Authorization": f"Bearer {KEY}"}
        with (
            suppress(httpx.HTTPError),
            httpx.Client(base_url=site.gateway.url, trust_env=False, headers=headers) as http,
        ):
            while True:
                http.post("/v1/chat/completions", json=chat_body("one"))

    with start_lanes(LANES) as fleet:
        with gateway_on([fleet], LANES, tmp_path, env) as site, ThreadPoolExecutor(8) as pool:
            for _ in range(8):
                pool.submit(load, site)
            eventually(lambda: len(entries(data)) > 60, "entries", within=30)
            site.gateway.kill()
        sent = [entry for entry in entries(data) if entry["what"] == "sent"]
        chains = len({entry["chain"] for entry in sent})  # both processes', unless one took all connections
        assert chains in (1, 2)
        received = fleet.state("one-1")["received"]
        assert 0 < received <= len(sent)
        with start_gateway(tmp_path / "policies", data, env=alone, log=tmp_path / "gateway.log") as again:
            headers = {**LOCAL, "Authorization": f"Bearer {KEY}"}
            with httpx.Client(trust_env=False, headers=headers, timeout=10) as http:
                url = f"{again.url}/v1/chat/completions"
                eventually(lambda: http.post(url, json=chat_body("one")).status_code == 200, "an answer", within=15)
    told = audit("verify", str(data / "audit"))
    assert (told.exit_code, told.stderr) == (0, "")
    assert len(list((data / "audit").glob("chain-*"))) == chains + 1
    path = min((data / "audit").glob("chain-*"))
    path.write_bytes(path.read_bytes().replace(b'"local"', b'"eu"', 1))
    changed = audit("verify", str(data / "audit"))
    assert changed.exit_code == 1
    assert changed.stderr == f"{path.name}:1: was changed, or was made with another key\n"
    assert audit("trim", str(data / "audit"), "--before", "2100-01-01").exit_code == 1
