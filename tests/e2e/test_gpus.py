"""GPUs with real processes: a node's page, an agent, faults that outlive the gateway, the admin API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from gateway.console.gpus import host_token
from gateway.fleet.gpu_history import key_of
from loadtests.stack import ROOT, end, start_gateway
from tests.commands import ran
from tests.gateways import PEPPER, Lane, Site, eventually, serve

ADMIN_KEY, TOKEN = "the-key-of-the-operators", "the-token-of-the-agents"
HOST = "bare-1"
ENV = {"GATEWAY_ADMIN_KEY": ADMIN_KEY, "GATEWAY_AGENT_TOKEN": TOKEN, "GATEWAY_KEY_PEPPER": PEPPER}
LANES = [
    Lane("paged", workers=2, cloud=False, sim={"age_s": 600.0}),
    Lane("agented", cloud=False, worker={"dcgm": None, "hostname": HOST, "gpu_index": [0, 1]}),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serve(tmp_path_factory.mktemp("gpus"), LANES, ENV) as made:
        yield made
        made.gateway.stop()


def admin(site: Site, method: str, path: str, key: str = ADMIN_KEY, **more: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"}
    return site.http.request(method, f"/admin/v1/{path}", headers=headers, **more)


def out(site: Site) -> dict[str, str]:
    return {row["upstream"]: row["why"] for row in admin(site, "GET", "status").json()["out"]}


def told(site: Site, worker: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = admin(site, "GET", "gpus").json()["workers"].get(worker)
    return found


def beats(path: Path, *heartbeats: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(beat) + "\n" for beat in heartbeats))
    return path


@contextmanager
def agent(site: Site, replay: Path, token: Path, said: Path, host: str = HOST) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "gateway", "agent", "--url", site.gateway.url, "--host", host, "--interval", "0.1"]
    env = {"PATH": os.defpath, "PYTHONPATH": str(ROOT)}
    with said.open("wb") as lines:
        files = ["--replay", str(replay), "--token-file", str(token)]
        process = subprocess.Popen([*command, *files], env=env, stdout=lines, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            end(process)


def test_a_gpu_fault_takes_its_worker_out_until_an_operator_clears_it(site: Site) -> None:
    eventually(lambda: told(site, "paged-1"), "the first look")
    site.fleet.config("paged-1", xid=79)
    try:
        why = eventually(lambda: out(site).get("paged-1"), "the worker is out")
        uuid = (told(site, "paged-1") or {})["gpus"][0]["uuid"]
        assert why == f"gpu fault: xid 79 on {uuid}"
        answers = [site.chat("paged") for _ in range(4)]
        assert {answer.status_code for answer in answers} == {200}
        receipt = site.receipt(answers[0])
        assert "paged-1" not in json.dumps(receipt["attempts"])
        assert receipt["drops"] == {"health": 1}
        assert site.metric("gateway_upstream_gpu_fault", upstream="paged-1") == 1
        assert site.metric("gateway_upstream_gpu_fault", upstream="paged-2") == 0
        assert site.metric("gateway_gpu_faults_total", upstream="paged-1", what="xid 79") == 1
        assert '"event": "gpu fault"' in site.logged()
        cleared = admin(site, "POST", "workers/paged-1/clear")
        assert cleared.json() == {"worker": "paged-1", "fault": f"xid 79 on {uuid}"}
        eventually(lambda: "paged-1" not in out(site), "the worker is back; the gauge still says 79")
        assert '"event": "gpu fault over"' in site.logged()
    finally:
        site.fleet.config("paged-1", xid=0)


def test_a_fault_outlives_the_gateway(site: Site) -> None:
    site.fleet.config("paged-2", xid=95)
    eventually(lambda: out(site).get("paged-2"), "the worker is out")
    site.gateway.kill()
    port = int(site.gateway.url.rpartition(":")[2])
    site.gateway = start_gateway(site.folder, site.data, port=port, env=ENV, log=site.log.with_name("second.log"))
    assert "xid 95" in out(site)["paged-2"], "from the first answer on"
    eventually(lambda: told(site, "paged-1"), "a look")
    assert "xid 95" in out(site)["paged-2"]
    site.fleet.config("paged-2", die=True)
    eventually(lambda: (told(site, "paged-2") or {})["age"] > 0, "still there")
    site.fleet.config("paged-2", alive=True, xid=95)
    eventually(lambda: "paged-2" not in out(site), "it began anew; its GPU's gauge still says 95")
    site.fleet.config("paged-2", xid=0)


def test_an_agent_tells_of_its_host_and_outlives_the_gateway(site: Site, tmp_path: Path) -> None:
    gpus = [{"uuid": f"GPU-{i}", "index": i, "sm": 0.25 * i, "memory_used": 70_000, "xids": []} for i in range(4)]
    token, said = tmp_path / "token", tmp_path / "said"
    token.write_text("not-the-token-of-the-agents")
    with agent(site, beats(tmp_path / "beats", gpus), token, said) as process:
        eventually(lambda: "refuses with 401" in said.read_text(), "it is refused")
        assert told(site, "agented-1") is None
        token.write_text(TOKEN + "\n")
        worker = eventually(lambda: told(site, "agented-1"), "its GPUs are told")
        assert [(gpu["uuid"], gpu["use"]) for gpu in worker["gpus"]] == [("GPU-0", 0.0), ("GPU-1", 0.25)]
        assert worker["age"] < 3
        eventually(lambda: site.metric("gateway_upstream_gpu_utilisation", upstream="agented-1") == 0.125, "the mean")
        site.gateway.kill()
        eventually(lambda: "does not answer" in said.read_text(), "it notices")
        port = int(site.gateway.url.rpartition(":")[2])
        site.gateway = start_gateway(site.folder, site.data, port=port, env=ENV, log=site.log.with_name("third.log"))
        eventually(lambda: said.read_text().count("telling http") == 2, "it tells again")
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
    assert len(said.read_text().splitlines()) <= 6, "one line per change of state"
    assert TOKEN not in said.read_text() + site.logged()


def test_a_gpu_that_its_agent_calls_lost_takes_the_worker_out(site: Site, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    lost = [{"uuid": "GPU-0", "index": 0}, {"uuid": "GPU-1", "index": 1, "fault": "lost"}]
    with agent(site, beats(tmp_path / "beats", lost), token, tmp_path / "said"):
        assert eventually(lambda: out(site).get("agented-1"), "it is out") == "gpu fault: lost on GPU-1"
    assert "unfit: GPU-1 lost" in (tmp_path / "said").read_text()


@pytest.mark.parametrize(
    ("key", "host", "beat", "status"),
    [
        ("none", HOST, b"[]", 401),
        ("x" * 24, HOST, b"[]", 401),
        (ADMIN_KEY, HOST, b"[]", 401),
        (TOKEN, HOST, b"[]", 200),
        (host_token(TOKEN, HOST), HOST, b"[]", 200),
        (host_token(TOKEN, "bare-2"), HOST, b"[]", 401),
        (TOKEN, "bare-2", b'[{"index": 0}]', 404),
        (TOKEN, "a b", b"[]", 400),
        (TOKEN, "{agents}", b"[]", 400),
        (TOKEN, HOST, b"{}", 400),
        (TOKEN, HOST, b"[{}]", 400),
        (TOKEN, HOST, b'[{"index": 0, "sm": 1.5}]', 400),
        (TOKEN, HOST, b'[{"index": 0, "fault": "bored"}]', 400),
        (TOKEN, HOST, b'[{"index": 0, "throttle": ["wind"]}]', 400),
        (TOKEN, HOST, b'[{"index": 0, "uuid": "../x"}]', 400),
        (TOKEN, HOST, b'[{"index": 0, "instance": "x y"}]', 400),
        (TOKEN, HOST, b'[{"index": 0, "xids": [[79, -1]]}]', 400),
        (TOKEN, HOST, b'[{"index": 0, "temperature": 1e300}]', 400),
        (TOKEN, HOST, b"[" + b'{"index": 0},' * 40 + b'{"index": 0}]', 400),
        (TOKEN, HOST, b"[" + b" " * 70_000 + b"]", 413),
    ],
)
def test_what_a_heartbeat_may_be(site: Site, key: str, host: str, beat: bytes, status: int) -> None:
    answer = admin(site, "POST", f"agents/{host}", key, content=beat)
    assert answer.status_code == status, answer.text


def test_an_agent_of_no_worker_says_so_and_is_listed(site: Site, tmp_path: Path) -> None:
    token, said = tmp_path / "token", tmp_path / "said"
    token.write_text(TOKEN)
    with agent(site, beats(tmp_path / "beats", [{"index": 0}]), token, said, host="bare-3"):
        eventually(lambda: "refuses with 404: no worker" in said.read_text(), "it is refused")
        eventually(lambda: "bare-3" in admin(site, "GET", "gpus").json()["agents_of_no_worker"], "it is listed")
    assert "`hostname: bare-3`" in said.read_text()
    lines = [line for log in site.log.parent.glob("*.log") for line in log.read_text().splitlines()]
    assert sum('"agent of no worker"' in line and '"bare-3"' in line for line in lines) == 1
    with agent(site, beats(tmp_path / "beats", [{"index": 5}]), token, said):
        eventually(lambda: "of 1 GPUs; no worker of its policy has any of them" in said.read_text(), "it says so")


def test_the_token_of_agents_opens_nothing_else(site: Site) -> None:
    for method, path in (("GET", "gpus"), ("GET", "gpus/paged-1/history"), ("POST", "workers/paged-1/clear")):
        assert admin(site, method, path, TOKEN).status_code == 401
        assert admin(site, method, path.replace("paged-1", "nobody")).status_code == (404 if "-1" in path else 200)


def test_the_last_hour_by_field_and_gpu(site: Site) -> None:
    at = int(time.time()) // 10 * 10 - 600
    entry = at.to_bytes(4, "big") + bytes([0, 1, 125, 255, 0x11, 0x17, 2, 100, 60, 0])
    with redis.Redis(unix_socket_path=str(site.data / "store.sock")) as client:
        client.lpush(key_of("paged-1"), entry)
    hour = admin(site, "GET", "gpus/paged-1/history").json()
    assert (hour["step_seconds"], hour["steps"]) == (10, 360)
    (gpu,) = [gpu for gpu in hour["gpus"] if gpu["index"] == 1]
    assert gpu == {
        "index": 1, "at": [at], "sm": [0.5], "dram": [None], "memory_used": [70_000.0], "power": [612.0],
        "temperature": [60.0],
    }  # fmt: skip
    assert admin(site, "GET", f"gpus/paged-1/history?since={at + 1}").json()["gpus"] in ([], hour["gpus"][:1])


def test_without_a_driver_the_agent_says_so_and_ends() -> None:
    env = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "GATEWAY_AGENT_TOKEN": TOKEN}
    ended = ran("agent", env=env)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "NVIDIA driver installed" in ended.stderr
