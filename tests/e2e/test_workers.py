"""Workers that come and go by themselves: registered over HTTP, drained by an operator, found within two seconds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from loadtests.simfleet.harness import start
from loadtests.stack import ROOT
from tests.commands import ran
from tests.gateways import Lane, Site, eventually

TOKEN, ADMIN = "token-of-the-workers", "key-of-the-operator"
ENV = {"GATEWAY_WORKER_TOKEN": TOKEN, "GATEWAY_ADMIN_KEY": ADMIN}
REGISTERED = {"discover": [{"registration": True}], "slow_start": "0s", "networks": ["127.0.0.0/8"]}
LANES = [
    Lane("chat", workers=2, cloud=False, backend=REGISTERED),
    Lane("spare", workers=3, cloud=False),
    Lane("open", workers=1, cloud=False, backend=REGISTERED),
]
NOTICED_SECONDS = 2.0
PATH = "/admin/v1/workers"
DRAINED = "open-1 takes nothing new until `gateway drain open-1 --undo`; 0 on it now\n"


def call(site: Site, method: str, path: str, key: str | None = TOKEN, **given: Any) -> httpx.Response:
    headers = {**({} if key is None else {"Authorization": f"Bearer {key}"}), **given.pop("headers", {})}
    with httpx.Client(base_url=site.gateway.url, trust_env=False, timeout=10.0) as client:
        return client.request(method, path, headers=headers, **given)


def spare(site: Site, number: int) -> str:
    """The address of a worker that the policy has elsewhere; under the host name it is another one to look at."""
    return next(one.url for one in site.fleet.workers if one.name == f"spare-{number}")


def join(site: Site, url: str, **more: Any) -> httpx.Response:
    return call(site, "POST", PATH, json={"backend": "chat", "url": url, **more})


def error(answer: httpx.Response) -> tuple[int, str, str | None]:
    told = answer.json()["error"]
    return answer.status_code, told["code"], told["param"]


def workers(site: Site) -> dict[str, dict[str, Any]]:
    told = call(site, "GET", PATH, ADMIN).json()["workers"]
    return {one["upstream"]: one for one in told}


@contextmanager
def fresh_worker(site: Site) -> Iterator[str]:
    """A simulated worker of its own that no policy names."""
    with start(seed=5, workers=1, managed=0, worker={"step_ms": 4.0, "gauge_lag_s": 0.0}) as fleet:
        yield fleet.workers[0].url


@pytest.mark.parametrize("key", [None, "no-such-token-at-all", "key-acme"])
def test_without_a_valid_token_nobody_registers(site: Site, key: str | None) -> None:
    body = {"backend": "chat", "url": "http://127.0.0.1:1"}
    assert call(site, "POST", PATH, key, json=body).status_code == 401
    assert call(site, "DELETE", f"{PATH}/chat-1", key).status_code == 401
    assert call(site, "GET", PATH, key or "none").status_code == 401
    assert call(site, "GET", PATH, TOKEN).status_code == 401, "the workers' token opens nothing else"
    assert call(site, "POST", f"{PATH}/chat-1/drain", TOKEN).status_code == 401


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"zone": "us"}, (400, "invalid_request", "zone")),
        ({"kind": "managed"}, (400, "invalid_request", "kind")),
        ({"price": {}}, (400, "invalid_request", "price")),
        ({"networks": ["0.0.0.0/0"]}, (400, "invalid_request", "networks")),
        ({"more": 1}, (400, "invalid_request", "more")),
        ({"name": "a/b"}, (400, "invalid_request", "name")),
        ({"ttl_s": 0.1}, (400, "invalid_request", "ttl_s")),
        ({"url": "http://user:pass@127.0.0.1:1"}, (400, "invalid_request", "url")),
        ({"url": "http://127.0.0.1:1/v1"}, (400, "invalid_request", "url")),
        ({"url": "ftp://127.0.0.1:1"}, (400, "invalid_request", "url")),
        ({"url": "http://127.0.0.1:0"}, (400, "invalid_request", "url")),
        ({"url": "http://169.254.169.254"}, (403, "worker_refused", "url")),
        ({"url": "http://[fd00:ec2::254]"}, (403, "worker_refused", "url")),
        ({"url": "http://0.0.0.0:1"}, (403, "worker_refused", "url")),
        ({"url": "http://224.0.0.1:1"}, (403, "worker_refused", "url")),
        ({"url": "http://10.0.0.1:1"}, (403, "worker_refused", "url")),
        ({"url": "http://no-such-host.invalid:1"}, (403, "worker_refused", "url")),
        ({"backend": "chatt"}, (404, "not_found", "backend")),
        ({"backend": "spare"}, (403, "worker_refused", "backend")),
        ({"name": "chat-1"}, (409, "worker_conflict", "name")),
        ({"name": "chat"}, (409, "worker_conflict", "name")),
    ],
)
def test_what_a_registrant_may_not_say(site: Site, body: dict[str, Any], told: tuple[int, str, str]) -> None:
    answer = join(site, **{"url": "http://127.0.0.1:1", **body})
    assert error(answer) == told
    assert "169.254" not in answer.text
    assert "user:pass" not in answer.text


def test_a_caller_from_elsewhere_cannot_name_the_gateways_own_host(site: Site) -> None:
    answer = call(
        site,
        "POST",
        PATH,
        json={"backend": "chat", "url": "http://127.0.0.1:1"},
        headers={"X-Forwarded-For": "192.0.2.1"},
    )
    assert error(answer) == (403, "worker_refused", "url")


def test_a_worker_registers_serves_and_leaves(site: Site) -> None:
    with fresh_worker(site) as url:
        answer = join(site, url, name="newcomer")
        came = time.monotonic()
        assert answer.status_code == 201, answer.text
        told = answer.json()
        eventually(lambda: site.metric("gateway_upstream_up", upstream="newcomer") == 1, "it is up", NOTICED_SECONDS)
        eventually(lambda: chosen(site, "newcomer"), "it serves", NOTICED_SECONDS)
        assert time.monotonic() - came < NOTICED_SECONDS
        row = workers(site)["newcomer"]
        assert (row["source"], row["backend"], row["out"]) == ("registration", "chat", None)
        assert time.time() - row["joined"] < 10

        again = join(site, url, name="newcomer")
        assert (again.status_code, again.json()["ticket"]) == (200, None), "who renews by name alone gets no ticket"
        assert error(join(site, spare(site, 1), name="newcomer")) == (409, "worker_conflict", "name")
        assert error(join(site, url, name="liar")) == (409, "worker_conflict", "url")
        refused = call(site, "DELETE", f"{PATH}/newcomer", headers={"X-Gateway-Ticket": "stolen"})
        assert error(refused) == (403, "worker_refused", None)
        assert call(site, "DELETE", f"{PATH}/newcomer").status_code == 401

        left = call(site, "DELETE", f"{PATH}/newcomer", headers={"X-Gateway-Ticket": told["ticket"]})
        assert left.status_code == 200
        eventually(lambda: "newcomer" not in workers(site), "it is gone", NOTICED_SECONDS)
        assert error(call(site, "DELETE", f"{PATH}/newcomer", ADMIN))[:2] == (404, "not_found")
    assert "worker joined" in site.logged()
    assert "worker left" in site.logged()
    assert TOKEN not in site.logged()


def chosen(site: Site, name: str) -> bool:
    answer = site.chat("chat")
    assert answer.status_code == 200
    return answer.headers["x-gateway-upstream"] == name


def test_one_that_says_nothing_more_is_gone_within_two_seconds_of_its_time(site: Site) -> None:
    with fresh_worker(site) as url:
        assert join(site, url, name="short", ttl_s=3).status_code == 201
        began = time.monotonic()
        eventually(lambda: "short" in workers(site), "it is there", NOTICED_SECONDS)
        eventually(lambda: "short" not in workers(site), "it is gone", 3 + NOTICED_SECONDS)
        assert time.monotonic() - began >= 2.5


def test_one_that_the_policy_has_already_is_that_worker(site: Site) -> None:
    url = next(one.url for one in site.fleet.workers if one.name == "chat-1")
    answer = join(site, url.replace("127.0.0.1", "localhost"), name="other-name", ttl_s=3)
    assert (answer.status_code, answer.json()["upstream"]) == (201, "chat-1")
    assert "other-name" not in workers(site)


def test_a_drained_worker_ends_what_it_runs_and_takes_nothing_new(site: Site) -> None:
    with site.stream("open", max_tokens=400, ignore_eos=True) as (answer, lines):
        next(lines)
        assert answer.headers["x-gateway-upstream"] == "open-1"
        drained = call(site, "POST", f"{PATH}/open-1/drain", ADMIN, json={"reason": "a fan is broken"})
        assert drained.json()["out"] == "drained"
        refused = site.chat("open", headers={"X-Gateway-Max-Wait-Ms": "0"})
        assert refused.status_code == 503
        assert site.receipt(refused)["drops"] == {"drained": 1}
        assert list(lines)[-1] == "[DONE]"
    assert site.metric("gateway_upstream_drained", upstream="open-1") == 1
    row = workers(site)["open-1"]
    assert (row["out"], row["drained"]["reason"]) == ("drained", "a fan is broken")
    told = call(site, "GET", "/admin/v1/status", ADMIN).json()["out"]
    assert {"upstream": "open-1", "backend": "open", "why": "drained"} in told
    eventually(lambda: workers(site)["open-1"]["inflight"] == 0, "that its request ended is seen at the store")
    waited = gateway_drain(site, "open-1", "--wait")
    assert waited.stdout == f"{DRAINED}open-1 is empty\n", waited.stderr
    assert gateway_drain(site, "open-1", "--undo").stdout == "open-1 takes requests again\n"
    assert eventually(lambda: site.chat("open").status_code == 200, "it serves again", NOTICED_SECONDS)


def test_a_name_that_nobody_has(site: Site) -> None:
    said = gateway_drain(site, "open-2x")
    assert (said.returncode, said.stdout) == (1, "")
    assert "did you mean `open-1`?" in said.stderr


def gateway_drain(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    return run(site, "drain", *words)


def run(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    return ran(*words, env=environment(site))


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "gateway", *words]


def environment(site: Site) -> Mapping[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "GATEWAY_URL": site.gateway.url, "GATEWAY_ADMIN_KEY": ADMIN}


def test_the_command_keeps_a_worker_registered_until_it_is_stopped(site: Site, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    with fresh_worker(site) as url:
        words = ["register", "--backend", "chat", "--worker-url", url, "--token-file", str(token), "--ttl", "3"]
        process = subprocess.Popen(command(*words), env=environment(site), stderr=subprocess.PIPE, text=True)
        try:
            called = f"chat-127-0-0-1-{url.rpartition(':')[2]}"
            eventually(lambda: called in workers(site), "it is registered", 10)
            until = time.monotonic() + 4
            while time.monotonic() < until:  # longer than it would live without its heartbeats
                assert called in workers(site)
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=10)
        finally:
            process.kill()
        assert process.returncode == 0
        assert said.splitlines() == [f"registered as {called}", f"{called} has left"]
        assert called not in workers(site)
    token.write_text("not the token of the workers")
    refused = run(site, *words)
    assert (refused.returncode, refused.stderr) == (1, "refused (401): this is not the workers' token\n")
