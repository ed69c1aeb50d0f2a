"""Workers in Kubernetes: slices and pods over HTTP from a stand-in of its API, and what they mean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from lightkube.core.exceptions import ConfigError
from lightkube.resources.discovery_v1 import EndpointSlice

from gateway.finders import kubernetes
from gateway.finders.kubernetes import NotThere, endpoints, follow
from gateway.finders.report import Report
from gateway.model import Member, Source
from tests.finders.apiserver import ApiServer, api_server
from tests.polling import until

SERVICE, POOL = Source(service="ml/vllm"), Source(pool="ml/llama")
SLICES, PODS, POOLS = "endpointslices", "pods", "inferencepools"


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiServer]:
    monkeypatch.setattr(kubernetes, "PAUSE_SECONDS", 0.02)
    async with api_server() as running:
        monkeypatch.setenv("KUBECONFIG", str(running.kubeconfig(tmp_path)))
        yield running


@asynccontextmanager
async def following(source: Source) -> AsyncIterator[Report]:
    report = Report(lambda: None)
    task = asyncio.create_task(follow("gpu", source, report))
    try:
        yield report
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def endpoint(address: str, pod: str | None = None, **conditions: bool | None) -> dict[str, Any]:
    target = None if pod is None else {"kind": "Pod", "namespace": "ml", "name": pod, "uid": f"uid-{pod}"}
    return {"addresses": [address], "conditions": conditions, "targetRef": target}


def piece(name: str, *found: dict[str, Any], ports: Any = (("http", 8000),), service: str = "vllm") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "ml", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv6" if ":" in found[0]["addresses"][0] else "IPv4",
        "ports": [{"name": each, "port": number, "protocol": "TCP"} for each, number in ports],
        "endpoints": list(found),
    }


def member(address: str, pod: str | None = None, port: int = 8000, **changes: Any) -> Member:
    shown = f"[{address}]" if ":" in address else address
    told = {"addresses": (address,), "source": "service", "pod": pod and f"ml/{pod}", **changes}
    return Member(backend="gpu", url=f"http://{shown}:{port}", port=port, **told)


def read(*pieces: dict[str, Any], source: Source = SERVICE) -> frozenset[Member]:
    return endpoints("gpu", source, [EndpointSlice.from_dict(each) for each in pieces])


@pytest.mark.parametrize(
    ("conditions", "kept"),
    [
        ({}, "takes"),
        ({"ready": None, "serving": None, "terminating": None}, "takes"),
        ({"ready": True, "serving": True, "terminating": False}, "takes"),
        ({"ready": False}, None),
        ({"ready": False, "serving": False, "terminating": False}, None),
        ({"ready": False, "serving": True, "terminating": True}, "ends"),
        ({"ready": False, "serving": False, "terminating": True}, None),
        ({"ready": True, "serving": True, "terminating": True}, "ends"),
    ],
)
def test_what_the_conditions_of_an_endpoint_mean(conditions: dict[str, bool | None], kept: str | None) -> None:
    found = read(piece("a", endpoint("10.0.0.1", "w", **conditions)))
    assert found == (set() if kept is None else {member("10.0.0.1", "w", leaving=kept == "ends")})


def test_a_slice_of_names_is_passed_over() -> None:
    odd = {**piece("a", endpoint("w.example.com")), "addressType": "FQDN"}
    assert read(odd, piece("b", endpoint("10.0.0.1"))) == {member("10.0.0.1")}


def test_a_pod_in_several_slices_is_one_worker() -> None:
    found = read(
        piece("a", endpoint("10.0.0.1", "w"), endpoint("10.0.0.2", "x")),
        piece("b", endpoint("10.0.0.1", "w")),
        piece("c", endpoint("fd00::1", "w")),
        piece("d", endpoint("10.0.0.3")),
        piece("e", endpoint("10.0.0.3")),
    )
    assert found == {
        member("10.0.0.1", "w", addresses=("10.0.0.1", "fd00::1")),
        member("10.0.0.2", "x"),
        member("10.0.0.3"),
    }


def test_which_port_it_is() -> None:
    several = piece("a", endpoint("10.0.0.1"), ports=(("http", 8000), ("metrics", 9090)))
    assert read(several, source=Source(service="ml/vllm", port="http")) == {member("10.0.0.1")}
    assert read(several, source=Source(service="ml/vllm", port=7000)) == {member("10.0.0.1", port=7000)}
    assert read(several, source=Source(service="ml/vllm", port="no-such")) == frozenset()
    assert read(piece("a", endpoint("10.0.0.1"), ports=())) == frozenset()
    with pytest.raises(NotThere, match="several ports"):
        read(several)


async def test_a_service_is_followed_as_it_changes(server: ApiServer) -> None:
    await server.put(SLICES, piece("a", endpoint("10.0.0.1", "w")))
    await server.put(SLICES, piece("z", endpoint("10.9.9.9"), service="other"))
    async with following(SERVICE) as report:
        await until(lambda: report.members == {member("10.0.0.1", "w")})
        assert report.fault is None
        await server.put(SLICES, piece("b", endpoint("10.0.0.2", "x")))
        await until(lambda: len(report.members) == 2)
        await server.put(SLICES, piece("a", endpoint("10.0.0.1", "w", ready=False, serving=True, terminating=True)))
        await until(lambda: member("10.0.0.1", "w", leaving=True) in report.members)
        await server.remove(SLICES, "a")
        await until(lambda: report.members == {member("10.0.0.2", "x")})
    assert "labelSelector=kubernetes.io%2Fservice-name%3Dvllm" in server.lists[0]
    assert "/apis/discovery.k8s.io/v1/namespaces/ml/endpointslices" in server.watches[0]


@pytest.mark.parametrize("in_stream", [True, False])
async def test_a_version_that_is_gone_is_listed_anew(server: ApiServer, in_stream: bool) -> None:
    server.in_stream_gone = in_stream
    await server.put(SLICES, piece("a", endpoint("10.0.0.1")))
    async with following(SERVICE) as report:
        await until(lambda: bool(server.watches))
        await server.put(SLICES, piece("a", endpoint("10.0.0.2")))
        server.compact()
        server.drop()
        await until(lambda: report.members == {member("10.0.0.2")} and len(server.lists) > 1)
        await server.put(SLICES, piece("a", endpoint("10.0.0.3")))
        await until(lambda: report.members == {member("10.0.0.3")})
    assert report.fault is None


@pytest.mark.parametrize(("status", "said"), [(403, "get, list and watch"), (401, "401"), (500, "answers 500")])
async def test_an_api_that_refuses_keeps_what_was_found(server: ApiServer, status: int, said: str) -> None:
    await server.put(SLICES, piece("a", endpoint("10.0.0.1")))
    async with following(SERVICE) as report:
        await until(lambda: bool(report.members))
        server.refuse = status
        server.drop()
        await until(lambda: report.fault is not None and said in report.fault)
        assert report.members == {member("10.0.0.1")}
        server.refuse = 0
        await server.put(SLICES, piece("a", endpoint("10.0.0.2")))
        await until(lambda: report.members == {member("10.0.0.2")})
        assert report.fault is None


async def test_a_connection_that_says_nothing_is_not_trusted(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes, "SILENT_SECONDS", 0.1)
    await server.put(SLICES, piece("a", endpoint("10.0.0.1")))
    async with following(SERVICE) as report:
        await until(lambda: len(server.lists) >= 3)
        assert (report.members, report.fault) == ({member("10.0.0.1")}, None)


def pool(ports: tuple[int, ...] = (8000,), app: str = "llama") -> dict[str, Any]:
    return {
        "apiVersion": "inference.networking.k8s.io/v1",
        "kind": "InferencePool",
        "metadata": {"name": "llama", "namespace": "ml"},
        "spec": {"selector": {"matchLabels": {"app": app}}, "targetPorts": [{"number": port} for port in ports]},
    }


def pod(name: str, address: str, ready: str = "True", app: str = "llama", **meta: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "ml", "labels": {"app": app}, **meta},
        "spec": {"containers": []},
        "status": {"podIP": address, "podIPs": [{"ip": address}], "conditions": [{"type": "Ready", "status": ready}]},
    }


async def test_a_pool_is_the_pods_that_it_selects_on_each_of_its_ports(server: ApiServer) -> None:
    async with following(POOL) as report:
        await until(lambda: report.fault == "there is no such InferencePool")
        await server.put(PODS, pod("a", "10.0.0.1"))
        await server.put(PODS, pod("b", "10.0.0.2", ready="False"))
        await server.put(PODS, pod("c", "10.0.0.3", app="other"))
        await server.put(POOLS, pool())
        found = {"source": "pool"}
        await until(lambda: report.members == {member("10.0.0.1", "a", **found)})
        assert report.fault is None
        await server.put(PODS, pod("b", "10.0.0.2"))
        await until(lambda: len(report.members) == 2)
        await server.put(PODS, pod("b", "10.0.0.2", deletionTimestamp="2026-01-01T00:00:00Z"))
        await until(lambda: member("10.0.0.2", "b", leaving=True, **found) in report.members)
        await server.remove(PODS, "b")
        await server.put(POOLS, pool(ports=(8000, 8001)))
        both = {member("10.0.0.1", "a", port=port, **found) for port in (8000, 8001)}
        await until(lambda: report.members == both)
        await server.put(POOLS, pool(app="other"))
        await until(lambda: report.members == {member("10.0.0.3", "c", **found)})
        await server.remove(POOLS, "llama")
        await until(lambda: not report.members)
        assert report.fault == "there is no such InferencePool"


async def test_a_pool_without_ports_is_told(server: ApiServer) -> None:
    await server.put(POOLS, pool(ports=()))
    async with following(POOL) as report:
        await until(lambda: report.fault is not None and "targetPorts" in report.fault)


async def test_without_any_configuration_the_fault_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    async with following(SERVICE) as report:
        await until(lambda: report.fault is not None)
        assert report.fault == f"the Kubernetes API cannot be asked: {ConfigError.__name__}"
