"""Workers that Kubernetes tells of, through a stand-in of its API: two replicas notice each change in time."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.store.embedded import Embedded
from loadtests.simfleet.harness import SimFleet, start
from loadtests.stack import Gateway, free_port, start_gateway
from tests.conftest import connected
from tests.finders.apiserver import ApiServer, api_server
from tests.gateways import WEIGHTS, chat_body, eventually

NOTICED_SECONDS = 4.0
"""Two seconds, and as much again on a machine that does other things too."""
SERVICE, ADMIN = "ml/vllm", "key-of-the-operator"
BACKEND = {
    "name": "gpu",
    "kind": "local",
    "zone": "here",
    "networks": ["127.0.0.0/8"],
    "slow_start": "0s",
    "discover": [{"service": SERVICE, "port": "http"}],
}
FOLDER = {
    "backends.yaml": {"zones": {"here": {}}, "backends": [BACKEND]},
    "models.yaml": {"models": [{"name": "chat", "modality": "text", "served_by": [{"backend": "gpu", "as": WEIGHTS}]}]},
    "routing.yaml": {"rules": [{"name": "all", "match": {}, "route": {"backends": ["gpu"], "max_wait": "5s"}}]},
}


class Cluster:
    """The API in a thread of its own, and a slice for each worker."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.server: ApiServer
        self._ready, self._over = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self.loop.run_until_complete, args=(self._serve(),))
        self._thread.start()
        self._ready.wait()

    async def _serve(self) -> None:
        async with api_server() as self.server:
            self._ready.set()
            await self._over.wait()

    def do(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self.loop).result(5)

    def put(self, fleet: SimFleet, **conditions: bool) -> None:
        port = fleet.workers[0].port
        endpoint = {"addresses": ["127.0.0.1"], "conditions": conditions}
        meta = {"name": f"s-{port}", "namespace": "ml", "labels": {"kubernetes.io/service-name": "vllm"}}
        ports = [{"name": "http", "port": port, "protocol": "TCP"}]
        made = {"metadata": meta, "addressType": "IPv4", "ports": ports, "endpoints": [endpoint]}
        self.do(self.server.put("endpointslices", made))

    def remove(self, fleet: SimFleet) -> None:
        self.do(self.server.remove("endpointslices", f"s-{fleet.workers[0].port}"))

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self._over.set)
        self._thread.join(5)
        self.loop.close()


def worker(port: int = 0) -> SimFleet:
    config = {"step_ms": 10.0, "gauge_lag_s": 0.0, "max_num_seqs": 8}
    return start(seed=3, managed=0, workers=[{"name": "h100-1", "port": port or free_port(), **config}])


def called(fleet: SimFleet) -> str:
    return f"gpu-127-0-0-1-{fleet.workers[0].port}"


@contextmanager
def replicas_in(cluster: Cluster, store: Embedded, place: Path) -> Iterator[list[Gateway]]:
    """Two, each with an address of its own: so each can be asked what it knows."""
    folder = place / "policies"
    folder.mkdir()
    for name, content in FOLDER.items():
        (folder / name).write_text(json.dumps(content))
    env = {
        "KUBECONFIG": str(cluster.server.kubeconfig(place)),
        "GATEWAY_REDIS_URL": store.url,
        "GATEWAY_ADMIN_KEY": ADMIN,
    }
    with ExitStack() as stack:
        names = ("one", "two")
        yield [
            stack.enter_context(start_gateway(folder, place / name, env=env, log=place / f"{name}.log"))
            for name in names
        ]


class Caller:
    """Asks each replica without end, in a thread of its own."""

    def __init__(self, replicas: list[Gateway]) -> None:
        self.failed = list[str]()
        self.served: dict[str, float] = {}
        """Upstream -> when it last served somebody."""
        self.over = False
        self._threads = [threading.Thread(target=self._run, args=(replica.url,)) for replica in replicas]
        for thread in self._threads:
            thread.start()

    def _run(self, url: str) -> None:
        while not self.over:
            answer = httpx.post(f"{url}/v1/chat/completions", json=chat_body("chat"), trust_env=False, timeout=20)
            if answer.status_code == httpx.codes.OK:
                self.served[answer.headers["x-gateway-upstream"]] = time.monotonic()
            else:
                self.failed.append(answer.text)

    def stop(self) -> None:
        self.over = True
        for thread in self._threads:
            thread.join()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.stop()


def timed(done: Callable[[], object], what: str) -> float:
    began = time.monotonic()
    eventually(done, what, NOTICED_SECONDS)
    return time.monotonic() - began


async def emptied(store: Embedded) -> None:
    async with connected(store):
        pass


def test_every_change_is_noticed_within_two_seconds_and_nothing_is_lost(
    cluster: Cluster, embedded: Embedded, tmp_path: Path
) -> None:
    asyncio.run(emptied(embedded))
    took: dict[str, float] = {}
    with worker() as first:
        second = worker()
        cluster.put(first)
        with replicas_in(cluster, embedded, tmp_path) as replicas:
            caller = Caller(replicas)
            try:
                eventually(lambda: called(first) in caller.served, "the first serves")
                cluster.put(second)
                took["comes"] = timed(lambda: called(second) in caller.served, "the second serves")

                second.kill()
                killed = time.monotonic()
                took["dies"] = timed(lambda: out(replicas, second) is not None, "both replicas know that it is down")
                port = second.workers[0].port
                second = worker(port)
                back = time.monotonic()
                took["is back"] = timed(lambda: caller.served[called(second)] > max(killed, back), "it serves again")

                with httpx.Client(base_url=replicas[0].url, trust_env=False, timeout=20) as client:
                    cluster.put(second, ready=False, serving=True, terminating=True)
                    took["terminates"] = timed(lambda: out(replicas, second) == "leaving", "it takes nothing new")
                    body = chat_body("chat", stream=True, max_tokens=300, ignore_eos=True)
                    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                        lines = answer.iter_lines()
                        next(lines)
                        assert answer.headers["x-gateway-upstream"] == called(first)
                        cluster.put(second)
                        eventually(lambda: seen(replicas, second) == {None}, "both replicas trust it again", 10)
                        cluster.remove(first)
                        took["goes"] = timed(lambda: out(replicas, first) == "gone", "the first is gone")
                        assert [line for line in lines if line][-1] == "data: [DONE]", "its stream goes on"
                    left = time.monotonic() + 0.5
                    eventually(lambda: caller.served[called(second)] > left, "the second serves alone")
                    assert caller.served[called(first)] < left
            finally:
                caller.stop()
                second.stop()
            assert caller.failed == []
    print("noticed after seconds:", {what: round(seconds, 2) for what, seconds in took.items()})


def out(replicas: list[Gateway], fleet: SimFleet) -> str | None:
    """Why it takes nothing, where all agree; else None."""
    told = seen(replicas, fleet)
    return told.pop() if len(told) == 1 else None


def seen(replicas: list[Gateway], fleet: SimFleet) -> set[str | None]:
    """What each says of it: why it is out; None: it takes requests."""
    told = set[str | None]()
    for replica in replicas:
        answer = httpx.get(
            f"{replica.url}/admin/v1/workers/{called(fleet)}",
            headers={"Authorization": f"Bearer {ADMIN}"},
            trust_env=False,
        )
        told.add("gone" if answer.status_code == httpx.codes.NOT_FOUND else answer.json()["out"])
    return told
