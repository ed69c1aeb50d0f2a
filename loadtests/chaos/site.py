"""What a scenario breaks: a store behind a proxy, gateway replicas, workers that are processes, a bought API."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import redis

from gateway.money.keys import hash_key
from loadtests.chaos.proxy import Proxy
from loadtests.chaos.score import Delivery, deliveries
from loadtests.chaos.servers import Loop, Store
from loadtests.chaos.traffic import KEY, MODEL, Shape, Traffic
from loadtests.policy_folder import write
from loadtests.simfleet.harness import SimFleet, start
from loadtests.stack import Gateway, free_port, start_gateway

PEPPER, ADMIN_KEY = "chaos-pepper", "chaos-admin-key-0001"
WEIGHTS = "meta-llama/Llama-3.3-70B-Instruct"
GPU, API = "gpu", "api"
SIM = {"step_ms": 8.0, "per_seq_ms": 0.2, "per_prompt_token_ms": 0.001, "gauge_lag_s": 0.2}
"""A token every 8 to 10 ms: 24 tokens take a quarter of a second."""
BOUGHT = {"ttft_median_s": 0.05, "tokens_per_s": 400.0}
REST_SECONDS = 10.0
POLL_SECONDS = 0.05
LEFT_BY_THE_DEAD = 6.0
"""Leases of a killed gateway: expiry 4 s, the next sweep 1 s later, and a second for the machine."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What there is. `route`, `backend`, `worker`, `api`, `env`: merged over what is usual."""

    workers: int = 3
    seats: int = 16
    replicas: int = 2
    api: bool = True
    route: Mapping[str, Any] = field(default_factory=dict)
    backend: Mapping[str, Any] = field(default_factory=dict)
    worker: Mapping[str, Any] = field(default_factory=dict)
    bought: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)


class Bench:
    """One run of one scenario: makes its site, gathers the evidence, ends every process."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.loop = Loop()
        self.mark: float | None = None
        self.seen: list[Delivery] = []
        self.leaked = 0
        self.notes: list[str] = []
        self.failed: list[str] = []
        self.site: Site | None = None
        self._stack = ExitStack()
        self._stack.callback(self.loop.close)

    def open(self, layout: Layout | None = None) -> Site:
        self.site = self._stack.enter_context(Site(self, layout or Layout()))
        return self.site

    def recovers_from(self) -> None:
        """From this instant on the time to recover counts; the last call holds."""
        self.mark = time.monotonic()

    def expect(self, holds: bool, what: str) -> None:
        """Part of the promise that no figure says: `what` is told either way."""
        (self.notes if holds else self.failed).append(what if holds else f"not so: {what}")

    def close(self) -> None:
        self._stack.close()


class Site:
    """See Layout. Workers are called w1, w2, ...; each is a process of its own with a port that stays."""

    def __init__(self, bench: Bench, layout: Layout) -> None:
        self.bench, self.layout, self.place = bench, layout, bench.place
        self.fleets: dict[str, SimFleet] = {}
        self.ports: dict[str, int] = {}
        self.gateways: dict[str, Gateway] = {}
        self.policy = self.place / "policy"
        self.traffic = Traffic(bench.loop, lambda: self.doors())
        self._closing = ExitStack()

    def __enter__(self) -> Site:
        with self._closing as stack:
            layout, place = self.layout, self.place
            self.store = stack.enter_context(Store(place / "store"))
            self.wire = Proxy(("127.0.0.1", self.store.port))
            self.bench.loop.do(self.wire.open())
            stack.callback(lambda: self.bench.loop.do(self.wire.aclose()))
            stack.callback(self._stop_all)
            for number in range(layout.workers):
                self.start_worker(f"w{number + 1}")
            if layout.api:
                self._add(
                    API,
                    start(seed=2, workers=[], managed=[{"name": API, "port": free_port(), **BOUGHT, **layout.bought}]),
                )
            self.write_policy()
            for number in range(layout.replicas):
                self.start_gateway(f"g{number + 1}")
            self._closing = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def doors(self) -> list[tuple[str, int]]:
        parts = [urlsplit(gateway.url) for gateway in self.gateways.values()]
        return [(part.hostname or "", part.port or 0) for part in parts]

    @contextmanager
    def load(self, shape: Shape | None = None) -> Iterator[None]:
        """Load for as long as the block lasts; after it the evidence is taken: journals, and what leases are left."""
        with self.traffic.running(shape or Shape()):
            yield
        self.settle()

    def settle(self) -> None:
        """Waits for rest, and takes the evidence."""
        self.bench.leaked = self._leaked()
        for name in list(self.fleets):
            self._witness(name)

    # workers

    def start_worker(self, name: str, **config: Any) -> None:
        port = self.ports.get(name) or free_port()
        worker = {"name": name, "port": port, "max_num_seqs": self.layout.seats, **SIM, **self.layout.worker, **config}
        self._add(name, start(seed=1, workers=[worker], managed=0))

    def kill_worker(self, name: str) -> None:
        """SIGKILL. Its journal is read just before: what it holds then is lost with it."""
        self._witness(name, dying=True)
        self.fleets.pop(name).kill()

    def freeze(self, name: str) -> None:
        os.kill(self.fleets[name].pid, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        os.kill(self.fleets[name].pid, signal.SIGCONT)

    def fault(self, name: str, **faults: Any) -> None:
        self.fleets[name].config(name, **faults)

    def _add(self, name: str, fleet: SimFleet) -> None:
        self.fleets[name] = fleet
        self.ports[name] = next(s.port for s in (*fleet.workers, *fleet.managed) if s.name == name)

    def _witness(self, name: str, *, dying: bool = False) -> None:
        entries = self.fleets[name].requests(name)
        for entry in entries:
            if dying and entry["ended"] is None:
                entry |= {"outcome": "lost", "ended": time.time()}
        self.bench.seen += deliveries(name, name == API, entries)

    # gateways

    def start_gateway(self, name: str, *, host: str = "127.0.0.1", prefix: Sequence[str] = (), **env: str) -> Gateway:
        given = {
            "GATEWAY_REDIS_URL": f"redis://127.0.0.1:{self.wire.port}",
            "GATEWAY_KEY_PEPPER": PEPPER,
            "GATEWAY_ADMIN_KEY": ADMIN_KEY,
            "GATEWAY_GRACE_SECONDS": "5",
            **self.layout.env,
            **env,
        }
        log = self.place / f"{name}.log"
        gateway = start_gateway(self.policy, self.place / name, host=host, env=given, log=log, prefix=prefix)
        self.gateways[name] = gateway
        return gateway

    def kill_gateway(self, name: str) -> None:
        self.gateways.pop(name).kill()

    def stop_gateway(self, name: str) -> int:
        """SIGTERM, as an orchestrator does: no new request finds it, those it has may end."""
        return self.gateways.pop(name).stop()

    def limit_files(self, name: str, spare: int) -> None:
        """It may open so many files more than it has now."""
        pid = self.gateways[name].pid
        top = len(os.listdir(f"/proc/{pid}/fd")) + spare
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (top, top))

    # what is asked of a gateway

    def get(self, path: str, name: str = "g1", *, admin: bool = False) -> httpx.Response:
        headers = {"authorization": f"Bearer {ADMIN_KEY if admin else KEY}"}
        return httpx.get(self.gateways[name].url + path, headers=headers, trust_env=False, timeout=5.0)

    def out(self, upstream: str, name: str = "g1") -> str | None:
        """Why an upstream takes no traffic, as this gateway says."""
        rows = self.get("/admin/v1/status", name, admin=True).json()["out"]
        return next((row["why"] for row in rows if row["upstream"] == upstream), None)

    def until(self, condition: Callable[[], object], what: str, within: float = REST_SECONDS) -> float:
        """Seconds until it holds. Raises TimeoutError naming `what`."""
        began = time.monotonic()
        while True:
            with contextlib.suppress(httpx.HTTPError, redis.RedisError):
                if condition():
                    return time.monotonic() - began
            if time.monotonic() - began > within:
                raise TimeoutError(f"{what}: not within {within:g} s")
            time.sleep(POLL_SECONDS)

    # the policy

    def write_policy(self, urls: Mapping[str, str] | None = None, **route: Any) -> None:
        """`urls`: of workers that are not reached on loopback."""
        layout = self.layout
        local = [
            {
                "name": n,
                "url": (urls or {}).get(n, f"http://127.0.0.1:{p}"),
                "engine": "vllm",
                "max_num_seqs": layout.seats,
                "limit_work_s": 10_000,
            }
            for n, p in sorted(self.ports.items())
            if n != API
        ]
        backends: list[dict[str, Any]] = [
            {"name": GPU, "kind": "local", "zone": "onprem", "upstreams": local, "slow_start": 0, **layout.backend}
        ]
        served: list[dict[str, Any]] = [{"backend": GPU, "as": WEIGHTS}]
        chat: dict[str, Any] = {"backends": [GPU], "limit": "fixed", "classes": FULL, **layout.route, **route}
        if layout.api:
            account = {"name": API, "url": f"http://127.0.0.1:{self.ports[API]}/v1", "key": "sim-managed-key"}
            backends.append({"name": API, "kind": "managed", "zone": "us", "simulated": True, "upstreams": [account]})
            served.append({"backend": API, "as": WEIGHTS, "price": {"input_per_1m": 0.25, "output_per_1m": 0.75}})
            chat = {"spill": {"backends": [API]}, "fallback": [API], **chat}
        flagged = {"backends": [GPU], "limit": "fixed", "classes": FULL, "max_wait": "10s", **_kept(layout.route)}
        write(
            self.policy,
            backends={"zones": {"onprem": {}, "us": {}}, "backends": backends},
            models={"models": [{"name": MODEL, "modality": "text", "served_by": served}]},
            routing={
                "rules": [
                    {"name": "flagged", "match": {"residency": "any"}, "route": flagged},
                    {"name": "chat", "match": {"model": MODEL}, "route": chat},
                ]
            },
            tenants={"tenants": [{"name": "chaos", "keys": [hash_key(PEPPER, KEY)]}]},
        )

    # at the end

    def _leaked(self) -> int:
        """Leases that stay although nothing is asked any more, and counts below zero."""
        deadline = time.monotonic() + LEFT_BY_THE_DEAD
        while (left := self._counts()) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return left

    def _counts(self) -> int:
        with self.store.client() as client:
            found = 0
            for backend in (GPU, API):
                for kind in ("count", "load"):
                    values: Any = client.hgetall(f"gw:{{{backend}}}:{kind}")
                    found += sum(int(value) != 0 for value in values.values())
            return found

    def _stop_all(self) -> None:
        for gateway in self.gateways.values():
            with contextlib.suppress(ProcessLookupError):
                gateway.process.send_signal(signal.SIGCONT)
            gateway.kill()
        for fleet in self.fleets.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(fleet.pid, signal.SIGCONT)
            fleet.kill()


FULL = {name: {"share": 1.0} for name in ("interactive", "standard", "batch")}
"""Every class may fill all seats: what is over them is then over-admission."""


def _kept(route: Mapping[str, Any]) -> dict[str, Any]:
    """Of a route's keys those that also hold where nothing may leave."""
    return {name: value for name, value in route.items() if name in ("timeouts", "attempts", "hedge", "rescue")}
