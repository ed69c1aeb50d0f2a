"""The gateway's own objects around a connection that leads nowhere, and what was seen at its end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, MutableMapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, cast

from pydantic import SecretStr

from gateway.admission import Admission
from gateway.audit.chain import Chain
from gateway.audit.journal import Journal
from gateway.edge.calibration import Calibration
from gateway.edge.calls import Call, Scope
from gateway.edge.cycle import WIRE, Cycle
from gateway.edge.middleware import Front
from gateway.edge.replies import Receive, Send
from gateway.edge.services import Services
from gateway.fleet.circuits import Circuits
from gateway.fleet.gpu_watch import GpuWatch
from gateway.fleet.leases import Leases, new_owner
from gateway.fleet.lessons import Forgetting, Lessons
from gateway.fleet.view import View
from gateway.flow import Flow
from gateway.joining import Joining
from gateway.model import Policy
from gateway.money.budgets import Budgets
from gateway.money.keyring import Keyring
from gateway.money.keys import Keys
from gateway.money.oidc_keys import IssuerKeys
from gateway.money.till import Till
from gateway.policy.issued import granted
from gateway.policy.live import LivePolicy
from gateway.receipts import Receipts
from gateway.reports.desk import Desk as ReportDesk
from gateway.routing.learn import MEMORY, PRIOR, PRIOR_WEIGHT
from gateway.settings import Settings
from gateway.siblings import Siblings
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from gateway.telemetry import TTFT_BUCKETS, Telemetry
from gateway.upstreams.client import Client
from gateway.upstreams.documents import document
from gateway.upstreams.gpu_pages import GpuPages
from gateway.versions.keeper import Versions
from loadtests.residency.traffic import Sent
from loadtests.residency.worlds import PEPPER

AUDIT_KEY = b"the audit's key of a proof, no secret"
ON_ID = "gateway.proof.on_id"
STORE_PAUSE_SECONDS = 0.4
"""Long enough for three calls to be late (50 ms each): then the gateway is degraded."""


class Live(LivePolicy):
    """A policy that is put into force by hand: these never lay in a folder, and many would not compile."""

    def __init__(self, policy: Policy) -> None:
        self.current, self.fault, self.candidate = policy, None, None
        self.on_reload, self.on_fault = [], []

    def put(self, policy: Policy) -> None:
        self.current = policy
        for listener in self.on_reload:
            listener(policy)


class Wire:
    """The caller's end: keeps the status of its answer."""

    def __init__(self) -> None:
        self.on_left: Any = None
        self.on_room: Any = None
        self.job: Any = None
        self.disconnected = self.stalled = self.paused = self.response_started = False
        self.status = 0

    def answer(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        self.begin(status, headers, body)

    def begin(self, status: int, headers: Sequence[tuple[bytes, bytes]], piece: bytes) -> None:
        self.status, self.response_started = status, True

    def write(self, piece: bytes) -> None:
        pass

    def finish(self) -> None:
        pass

    def cut(self) -> None:
        pass

    def leave(self) -> None:
        """The caller goes away."""
        if not self.response_started and self.on_left is not None:
            self.disconnected = True
            self.on_left()


class Told(Front):
    """Tells who came by which id."""

    async def _answer(self, call: Call, scope: Scope, receive: Receive, send: Send, wire: Cycle) -> None:
        scope[ON_ID](call.id)
        await super()._answer(call, scope, receive, send, wire)


class Rig:
    """Made by `rig`. `call` is one request from the ASGI server's hands to its answer."""

    def __init__(self, services: Services, live: Live, embedded: Embedded, rng: Random) -> None:
        self.services, self.live, self._embedded, self._rng = services, live, embedded, rng
        self._front = Told(services, _nobody)
        self.statuses: Counter[int] = Counter()

    def reload(self, policy: Policy) -> None:
        self.live.put(policy)

    async def call(self, sent: Sent, on_body: Any, on_id: Callable[[str], object] = str) -> None:
        """`on_body` is called as the gateway gets the body: from then on the policy of the request stands. `on_id` is
        told what the gateway calls the request, in its audit too."""
        wire = Wire()
        late = self._rng.random() < 0.1

        async def receive() -> MutableMapping[str, Any]:
            if late:
                await asyncio.sleep(self._rng.random() * 0.01)
            on_body()
            return {"type": "http.request", "body": sent.body, "more_body": False}

        scope = {
            "type": "http",
            "method": "POST",
            "path": sent.path,
            "headers": sent.headers,
            "client": ("127.0.0.1", 1),
            "extensions": {WIRE: wire},
            ON_ID: on_id,
        }
        if self._rng.random() < 0.02:
            asyncio.get_running_loop().call_later(self._rng.random() * 0.02, wire.leave)
        await self._front(scope, receive, cast(Any, None))
        self.statuses[wire.status] += 1

    async def without_store(self) -> None:
        """The store stands still until every replica is degraded, and comes back."""
        os.kill(self._embedded.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(STORE_PAUSE_SECONDS)
        finally:
            os.kill(self._embedded.pid, signal.SIGCONT)


async def _nobody(*_: Any) -> None:
    raise AssertionError("only generation paths are asked for")


@asynccontextmanager
async def rig(place: Path, embedded: Embedded, first: Policy, rng: Random) -> AsyncIterator[Rig]:
    """Built as `app.create_app` does it, but for probes (nobody could be scraped) and the other pages."""
    live, telemetry, store, owner = Live(first), Telemetry(), Store(embedded.url), new_owner()
    leases = Leases(store, owner, fresh=True)
    lessons = Lessons(store, Forgetting(PRIOR, PRIOR_WEIGHT, MEMORY))
    view = View(store, leases, lessons, lambda: live.current, Circuits())
    client, budgets = Client(), Budgets(store)
    chain = Chain(AUDIT_KEY, place, f"chain-{owner}")
    services = Services(
        Settings(key_pepper=SecretStr(PEPPER)),
        live,
        view,
        Admission(leases, budgets, lambda: view.current),
        client,
        Receipts(store, 1 << 20, 1.0),
        budgets,
        telemetry,
        Calibration(telemetry),
        Siblings(telemetry),
        Versions(store, owner, live, None),
        Journal(chain, telemetry.count_audit),
        GpuWatch(store, GpuPages(client).look),
        Joining(store, live),
        Till(store, owner),
        Keys(PEPPER),
        Keyring(None, granted),
        IssuerKeys(document, list),
        ReportDesk(Settings()),
        Flow(store, owner, TTFT_BUCKETS, view.now),
        rng=Random(rng.random()),
    )
    live.on_reload += [client.keep, lambda made: view.tries.keep(frozenset(made.upstreams)), lambda _: view.rebuild()]
    store.listen(lambda *_: view.rebuild())
    await store.check()
    await view.refresh()
    tasks = [asyncio.create_task(run()) for run in (leases.beat_forever, view.run, services.receipts.run)]
    try:
        yield Rig(services, live, embedded, rng)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await leases.drain()
        await budgets.aclose()
        await client.aclose()
        await store.aclose()
        chain.close()
