"""The whole simulated fleet: which server answers on which port, the control pages, death and revival.

Control pages, on every port (a hanging server answers them too, a dead one cannot: use another port, such as DCGM's):

=====================  ==============================================================================================
POST /sim/config       set faults: the keys of `faults.Change`
GET /sim/state         live truth of this port's server, of ?name=, or of all (on a DCGM port)
GET /sim/requests      what this port's server, or ?name=, received, from ?since= on
GET /sim/honesty       is a result measured against this process void? POST /sim/honesty/reset starts anew
=====================  ==============================================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from typing import Any
from urllib.parse import parse_qs

from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

from loadtests.simproviders.base import Provider
from loadtests.simproviders.table import PROVIDERS

from .bills import Bills
from .config import Plan, ProviderConfig, WorkerConfig
from .dcgm import render
from .exchange import ClientGone, Exchange, SimProtocol
from .faults import BadChange, Change, parse
from .honesty import Honesty
from .managed import Managed
from .media import MediaWorker
from .server import PortServer
from .station import Station
from .studios import media_of
from .wheel import Wheel
from .worker import Worker

CPU_SAMPLE_S = 1.0


class Fleet:
    """All services of one process, and the ASGI application that tells them apart by port."""

    def __init__(self, plan: Plan) -> None:
        self.honesty = Honesty()
        frame_s = 1 / max((config.frames_per_s for config in plan.managed), default=1.0)
        wheel = Wheel(lambda late: self.honesty.managed.record(late, frame_s))
        self.workers = [self._worker(config, plan.seed) for config in plan.workers]
        bills = Bills(plan.bills)
        self.managed = [Managed(config, plan.seed, wheel, bills) for config in plan.managed]
        self.services: dict[str, Station] = {service.name: service for service in (*self.workers, *self.managed)}
        self.providers = [(each, PROVIDERS[each.kind](key=each.api_key, job_s=each.job_s)) for each in plan.providers]
        self.by_port: dict[int, Station | Provider | str] = {}
        """A service, or the name of the node whose DCGM page is there."""
        self._spelled, self._called = plan.dcgm, plan.called
        apart = [worker for worker in self.workers if isinstance(worker, Worker) and worker.surface.apart]
        owners: list[Station | Provider | str] = [*self.workers, *self.managed, *plan.nodes, *apart]
        owners += [provider for _, provider in self.providers]
        ports = [*(each.port for each in plan.workers), *(each.port for each in plan.managed), *plan.nodes.values()]
        ports += [worker.config.metrics_port for worker in apart] + [each.port for each in plan.providers]
        self._server = PortServer(self, plan.listen, ports, plan.keep_alive_s, self._announce, self._judge)
        for port, owner in zip(self._server.ports, owners, strict=True):
            self.by_port[port] = owner
            if isinstance(owner, Station) and not owner.port:
                owner.port = port
            elif isinstance(owner, Worker):
                owner.metrics_port = port
            elif isinstance(owner, Provider):
                owner.public = self._at(port)
        for worker in self.workers:
            worker.others = self.services

    def _worker(self, config: WorkerConfig, seed: int) -> Worker | MediaWorker:
        media = media_of(config)
        return Worker(config, seed, self.honesty) if media is None else media(config, seed)

    async def serve(self) -> None:
        """Listen, print the ready line, run until SIGTERM or SIGINT; a void run says so on stderr at its end."""
        watch = asyncio.create_task(self._watch_cpu())
        try:
            await self._server.run_until_signal()
        finally:
            watch.cancel()

    async def _watch_cpu(self) -> None:
        while True:
            self.honesty.cpu(time.monotonic(), time.process_time())
            await asyncio.sleep(CPU_SAMPLE_S)

    def _announce(self) -> None:
        print(json.dumps(self.ready()), flush=True)

    def _judge(self) -> None:
        if reasons := self.honesty.reasons():
            said = (
                f"the simulated fleet was behind its own clock; a measurement against it is void: {'; '.join(reasons)}"
            )
            print(said, file=sys.stderr, flush=True)

    def ready(self) -> dict[str, Any]:
        """The line printed once every port listens."""
        nodes = {owner: port for port, owner in self.by_port.items() if isinstance(owner, str)}
        return {
            "pid": os.getpid(),
            "workers": [
                {
                    **self._address(w.name, w.port),
                    "model": w.model,
                    "node": w.config.node,
                    "gpu": w.config.gpu,
                    "engine": w.config.engine,
                    "gpu_uuids": w.config.gpu_uuids,
                    "metrics": self._metrics_url(w),
                }
                for w in self.workers
            ],
            "managed": [{**self._address(m.name, m.port, "/v1"), "model": m.model} for m in self.managed],
            "providers": [self._described(config, provider) for config, provider in self.providers],
            "dcgm": [self._address(node, port, "/metrics") for node, port in nodes.items()],
        }

    def _described(self, config: ProviderConfig, provider: Provider) -> dict[str, Any]:
        port = next(port for port, owner in self.by_port.items() if owner is provider)
        return {**self._address(config.name, port, provider.root), "model": "", "engine": config.kind}

    def _at(self, port: int) -> str:
        return f"http://{self._called}:{port}"

    def _address(self, name: str, port: int, path: str = "") -> dict[str, Any]:
        return {"name": name, "port": port, "url": f"{self._at(port)}{path}"}

    def _metrics_url(self, worker: Worker | MediaWorker) -> str:
        """Of its main metrics page; empty where it has none."""
        path = min(worker.metrics_pages, default="")
        return f"{self._at(worker.metrics_port or worker.port)}{path}" if path else ""

    # -- requests ----------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send)
        server = scope["server"]
        owner = self.by_port[(server and server[1]) or 0]
        with contextlib.suppress(ClientGone):
            if isinstance(owner, Provider):  # its control pages are its own
                await owner.handle(exchange)
            elif exchange.path.startswith("/sim/"):
                await self._control(exchange, owner)
            elif isinstance(owner, Worker) and owner.alive and server is not None and server[1] == owner.metrics_port:
                await self._metrics_port(exchange, owner)
            elif isinstance(owner, Station) and owner.alive:
                await owner.handle(exchange)
            elif isinstance(owner, Station):  # a request that slipped in while its server died
                exchange.connection.reset()
                await exchange.gone
            else:
                await self._dcgm(exchange, owner)

    async def _metrics_port(self, exchange: Exchange, worker: Worker) -> None:
        if exchange.path == "/metrics":
            if not worker.faults.hang or await exchange.wait(worker.generation):
                await worker.show_metrics(exchange)
        else:
            await exchange.reply(404, b"")

    async def _dcgm(self, exchange: Exchange, node: str) -> None:
        if exchange.path != "/metrics":
            await exchange.reply(404, b"")
            return
        readings = [gpu for worker in self.workers if worker.config.node == node for gpu in worker.gpus()]
        await exchange.reply(200, render(node, readings, self._spelled), content_type=b"text/plain; charset=utf-8")

    async def _control(self, exchange: Exchange, owner: Station | str) -> None:
        query = parse_qs(exchange.query.decode("latin-1"))
        name = query.get("name", [owner.name if isinstance(owner, Station) else ""])[0]
        service = self.services.get(name)
        match exchange.method, exchange.path:
            case "POST", "/sim/config":
                await self._configure(exchange)
            case "GET", "/sim/state" if service is None and not name:
                await exchange.reply(200, {name: self.state(each) for name, each in self.services.items()})
            case "GET", "/sim/state" if service is not None:
                await exchange.reply(200, self.state(service))
            case "GET", "/sim/requests" if service is not None:
                since = int(query.get("since", ["0"])[0])
                found = service.journal.since(since)
                await exchange.reply(200, {"requests": found, "next": service.journal.received})
            case "GET", "/sim/honesty":
                await exchange.reply(200, self.honesty.verdict())
            case "POST", "/sim/honesty/reset":
                self.honesty.reset()
                await exchange.reply(200, self.honesty.verdict())
            case _:
                await exchange.reply(404, {"error": "no such control page, or no server of that name"})

    def state(self, service: Station) -> dict[str, object]:
        """The live truth of one server."""
        outcomes = service.journal.outcomes
        return {
            "name": service.name,
            "alive": service.alive,
            **service.state(),
            "open_connections": len(self._server.connections_of(service.port)),
            "received": service.journal.received,
            "finished": outcomes["finished"],
            "aborted": outcomes["aborted"],
            "outcomes": outcomes,
            "prompt_tokens": service.journal.prompt_tokens,
            "completion_tokens": service.journal.completion_tokens,
            "probes": service.probes,
        }

    # -- faults ------------------------------------------------------------------------------------------------

    async def _configure(self, exchange: Exchange) -> None:
        try:
            change = parse(await exchange.body())
            targets = self._targets(change)
        except BadChange as fault:
            await exchange.reply(400, {"error": str(fault)})
            return
        for service in targets:
            service.apply(change)
            if change.die and service.alive:
                await self._kill(service, exchange.connection)
            elif change.alive and not service.alive:
                for port in self._ports(service):
                    await self._server.listen(port)
                service.revive()
        last_words = [(b"connection", b"close")] if change.die else []
        await exchange.reply(200, {"changed": [service.name for service in targets]}, last_words)

    def _targets(self, change: Change) -> list[Station]:
        if change.worker is None:
            return list(self.workers)
        if change.worker not in self.services:
            raise BadChange(f"worker: one of {', '.join(self.services)}, or null for every GPU worker")
        return [self.services[change.worker]]

    async def _kill(self, service: Station, messenger: SimProtocol) -> None:
        """What SIGKILL does to a server: its port refuses and its connections are reset; the messenger's may answer."""
        service.die()
        for port in self._ports(service):
            for connection in self._server.connections_of(port):
                if connection is not messenger:
                    connection.reset()
            await self._server.refuse(port)

    def _ports(self, service: Station) -> list[int]:
        return [port for port, owner in self.by_port.items() if owner is service]
