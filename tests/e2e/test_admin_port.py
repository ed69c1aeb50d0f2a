"""`GATEWAY_ADMIN_PORT`: operators' paths are there and nowhere else."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from loadtests.stack import DEMO_POLICIES, free_port, start_gateway

THEIRS = ("/metrics", "/openapi.json", "/admin/v1/status", "/dashboard", "/dashboard/app.js")
OURS = ("/healthz", "/readyz", "/v1/models", "/v1/chat/completions", "/metricsx")


@pytest.mark.parametrize("processes", [1, 2])
def test_each_port_has_its_paths(tmp_path: Path, processes: int) -> None:
    port = free_port()
    env = {"GATEWAY_ADMIN_PORT": str(port), "GATEWAY_WORKERS": str(processes)}
    with (
        start_gateway(DEMO_POLICIES, tmp_path, env=env) as gateway,
        httpx.Client(trust_env=False, timeout=10) as client,
    ):
        admin = f"http://127.0.0.1:{port}"
        assert {client.get(admin + path).status_code for path in THEIRS} == {200}
        assert client.get(admin + "/docs").status_code == 307
        assert client.get(gateway.url + "/docs").status_code == 404
        assert client.get(admin + "/dashboard/nothing.js").json()["error"]["code"] == "not_found"
        for path in THEIRS:
            answer = client.get(gateway.url + path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
        assert {client.get(admin + path).status_code for path in OURS} == {404}
        assert client.post(admin + "/v1/chat/completions", json={}).status_code == 404
        assert client.get(gateway.url + "/healthz").status_code == 200
