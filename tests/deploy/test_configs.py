"""The files that docker-compose.yml mounts: each is read by what it is for, where that is at hand, and names only what
is there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from gateway.policy.compile import compile_folder
from gateway.settings import Settings
from loadtests.simfleet.config import Plan, build, read
from tests.deploy.standin import for_this_nginx, without_resolve
from tests.deploy.written import OPS, ROOT, compose, environment
from tests.helm.settings_schema import CHART

FILE = compose()
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
IMAGE = environment("gateway")
GATEWAYS = ("gateway-1", "gateway-2")
NGINX = shutil.which("nginx")


def loaded(name: str) -> Any:
    return yaml.safe_load((OPS / name).read_text())


def target(service: str, source: str) -> str:
    """Where a config is mounted."""
    (found,) = [one["target"] for one in SERVICES[service]["configs"] if one["source"] == source]
    return str(found)


def plan(name: str) -> Plan:
    return build(read((OPS / name).read_bytes(), yaml=True)).plan()


@pytest.mark.skipif(NGINX is None, reason="needs nginx")
def test_nginx_takes_its_file(tmp_path: Path) -> None:
    assert NGINX is not None
    text = for_this_nginx((OPS / "nginx.conf").read_text()).replace("/tmp/", f"{tmp_path}/")
    (tmp_path / "nginx.conf").write_text(re.sub(r"gateway-\d:", "127.0.0.1:", text))
    tried = subprocess.run([NGINX, "-t", "-q", "-c", str(tmp_path / "nginx.conf")], capture_output=True, text=True)
    assert (tried.returncode, tried.stderr) == (0, "")


@pytest.mark.parametrize(
    ("version", "missing"),
    [("1.22.1", "here is 1.22.1"), ("1.27.2", "here is 1.27.2"), ("1.27.3", None), ("1.28.0", None)],
)
def test_an_nginx_that_cannot_follow_names_is_told_by_what_is_missing(
    tmp_path: Path, version: str, missing: str | None
) -> None:
    program = tmp_path / "nginx"
    program.write_text(f"#!/bin/sh\necho nginx version: nginx/{version} >&2\n")
    program.chmod(0o755)
    needs = f"needs nginx >= 1.27.3 (`resolve` of ops/compose/nginx.conf); {missing}"
    assert without_resolve(str(program)) == (missing and needs)


def test_the_balancer_knows_both_gateways_and_writes_to_tmp_alone() -> None:
    text = (OPS / "nginx.conf").read_text()
    servers = re.findall(r"^\s+server (\S+):(\d+) ", text, re.M)
    assert servers == [(name, IMAGE["GATEWAY_PORT"]) for name in GATEWAYS]
    assert all(path.startswith("/tmp/") for path in re.findall(r"(?:_temp_path|pid) (\S+);", text))
    (port,) = SERVICES["balancer"]["ports"]
    assert f"listen 0.0.0.0:{port.rpartition(':')[2]};" in text
    assert target("balancer", "nginx") in SERVICES["balancer"]["command"]


def test_a_gateway_that_was_made_anew_is_found_again() -> None:
    """`resolve` needs a resolver, a zone, and an nginx that has it; else a name is looked up once, at the start."""
    text = (OPS / "nginx.conf").read_text()
    assert tuple(int(part) for part in re.findall(r"nginx:(\d+)\.(\d+)", SERVICES["balancer"]["image"])[0]) >= (1, 28)
    servers = re.findall(r"^\s+server gateway-\S+ (.*);", text, re.M)
    assert len(servers) == len(GATEWAYS)
    assert all("resolve" in line.split() for line in servers)
    (valid,) = re.findall(r"^\s+resolver 127\.0\.0\.11 valid=(\d+)s ipv6=off;", text, re.M)
    assert int(valid) <= 5
    assert re.search(r"upstream gateways \{\s+zone gateways \d+k;", text)
    assert "restart balancer" not in (ROOT / "docs" / "deploy.md").read_text()


def test_sessions_are_handed_over_and_last_as_long_as_a_gateway_lets_them() -> None:
    text = (OPS / "nginx.conf").read_text()
    assert "proxy_set_header Upgrade $http_upgrade;" in text
    assert "proxy_set_header Connection $connection_upgrade;" in text
    settings = Settings.model_fields
    longest = max(settings[name].default for name in ("session_seconds", "upload_seconds", "jobs_longest_seconds"))
    for name in ("read", "send"):
        (allowed,) = re.findall(rf"proxy_{name}_timeout (\d+)s;", text)
        assert int(allowed) >= longest


def test_the_balancer_neither_holds_streams_up_nor_asks_twice() -> None:
    text = (OPS / "nginx.conf").read_text()
    assert "proxy_buffering off;" in text
    assert "proxy_request_buffering off;" in text
    assert "non_idempotent" not in re.sub(r"#.*", "", text)
    assert "client_max_body_size 0;" in text


def test_prometheus_asks_the_admin_port_of_both_and_reads_the_charts_alerts() -> None:
    file = loaded("prometheus.yml")
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in file["scrape_configs"]}
    assert targets["gateway"] == [f"{name}:{IMAGE['GATEWAY_ADMIN_PORT']}" for name in GATEWAYS]
    assert file["rule_files"] == [target("prometheus", "alerts")]
    assert (ROOT / FILE["configs"]["alerts"]["file"]).resolve() == CHART / "files" / "alerts.yaml"
    assert f"--config.file={target('prometheus', 'prometheus')}" in SERVICES["prometheus"]["command"]
    assert all(set(SERVICES["prometheus"]["networks"]) & set(SERVICES[name]["networks"]) for name in GATEWAYS)


def test_the_pipelines_of_the_collector_are_made_of_what_it_has() -> None:
    file = loaded("collector.yaml")
    for pipeline in file["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            assert set(pipeline[kind]) <= set(file[kind])
        assert pipeline["processors"][0] == "memory_limiter"
        assert pipeline["processors"][-1] == "batch"
    assert set(file["service"]["extensions"]) == set(file["extensions"])
    memory = SERVICES["collector"]["deploy"]["resources"]["limits"]["memory"]
    assert file["processors"]["memory_limiter"]["limit_mib"] < int(memory.removesuffix("m"))
    port = urlsplit(f"//{file['receivers']['otlp']['protocols']['http']['endpoint']}").port
    assert f"http://collector:{port}" in (ROOT / "docs" / "deploy.md").read_text()


def test_what_the_collector_picks_traces_by_is_on_our_spans() -> None:
    told = (ROOT / "docs" / "tracing.md").read_text()
    for name in re.findall(r"key: ([\w.]+)", (OPS / "collector.yaml").read_text()):
        assert f"`{name}`" in told, name


def test_grafana_finds_prometheus_and_our_dashboards() -> None:
    (source,) = loaded("grafana/datasources.yaml")["datasources"]
    address = urlsplit(source["url"])
    assert address.hostname in SERVICES
    assert f":{address.port}" in SERVICES["prometheus"]["ports"][0]
    (provider,) = loaded("grafana/dashboards.yaml")["providers"]
    mounts = dict(volume.split(":")[:2] for volume in SERVICES["grafana"]["volumes"])
    (folder,) = [source for source, at in mounts.items() if at == provider["options"]["path"]]
    boards = {path.name: json.loads(path.read_text())["uid"] for path in (ROOT / folder).glob("*.json")}
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert Path(home).name in boards
    assert len(set(boards.values())) == len(boards)


def test_the_store_keeps_what_it_acknowledged_and_evicts_nothing() -> None:
    lines = dict(
        line.split(None, 1) for line in (OPS / "valkey.conf").read_text().splitlines() if line and line[0] != "#"
    )
    assert (lines["appendonly"], lines["maxmemory-policy"]) == ("yes", "noeviction")
    (volume,) = SERVICES["valkey"]["volumes"]
    assert volume == f"valkey:{lines['dir']}"
    (secret,) = SERVICES["valkey"]["secrets"]
    assert lines["include"] == f"/run/secrets/{secret}"
    assert lines["maxmemory"] == "1gb"
    memory = SERVICES["valkey"]["deploy"]["resources"]["limits"]["memory"]
    assert int(memory.removesuffix("m")) > 2 * 1024  # twice as much while its file is rewritten


def test_what_the_policy_names_is_simulated_there(tmp_path: Path) -> None:
    """Every host and port of the policy folder, and the network that its peers must be in."""
    folder = tmp_path / "policies"
    shutil.copytree(OPS / "policies", folder)
    (tmp_path / "provider_key").write_text("sim-managed-key")
    text = (folder / "backends.yaml").read_text().replace("/run/secrets/", f"{tmp_path}/")
    (folder / "backends.yaml").write_text(text)
    policy = compile_folder(folder)
    simulated = {name: plan(f"{name}.yaml") for name in ("simfleet", "simproviders")}
    open_ports = {
        name: {each.port for each in (*made.workers, *made.managed, *made.providers)} | set(made.nodes.values())
        for name, made in simulated.items()
    }
    assert {(made.listen, made.called) for made in simulated.values()} == {("0.0.0.0", name) for name in simulated}
    for address in re.findall(r'"(http://[^"]+)"', text):
        url = urlsplit(address)
        assert url.port in open_ports[str(url.hostname)], address
    assert set(re.findall(r"^    networks: \[(.*?)\]", text, re.M)) == {
        FILE["networks"]["fleet"]["ipam"]["config"][0]["subnet"]
    }
    local = {name for name, upstreams in policy.backends.items() if all(each.kind == "local" for each in upstreams)}
    served = {one.name for model in policy.models.values() for one in model.served_by if one.backend in local}
    assert served == {worker.model for worker in simulated["simfleet"].workers}
