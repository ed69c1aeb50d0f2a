"""The gateway's own objects around a connection that leads nowhere, and what was seen at its end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
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
from gateway.edge.job_site import JobSite
from gateway.edge.middleware import Front
from gateway.edge.replies import Receive, Send
from gateway.edge.services import Services
from gateway.fleet.circuits import Circuits
from gateway.fleet.gpu_watch import GpuWatch
from gateway.fleet.leases import Leases, new_owner
from gateway.fleet.lessons import Forgetting, Lessons
from gateway.fleet.view import View
from gateway.flow import Flow
from gateway.jobs.room import Room
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
from gateway.startup import jobs_secret
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from gateway.telemetry import TTFT_BUCKETS, Telemetry
from gateway.upstreams.client import Client
from gateway.upstreams.dialects import ordered
from gateway.upstreams.dialects.managed.dashscope import DashScope
from gateway.upstreams.dialects.managed.fal import Fal
from gateway.upstreams.dialects.managed.gmi import Gmi
from gateway.upstreams.dialects.workers import videos
from gateway.upstreams.documents import document
from gateway.upstreams.gpu_pages import GpuPages
from gateway.versions.keeper import Versions
from loadtests.residency.oracle import Place
from loadtests.residency.traffic import Sent
from loadtests.residency.worlds import PEPPER

AUDIT_KEY = b"the audit's key of a proof, no secret"
ON_ID = "gateway.proof.on_id"
STORE_PAUSE_SECONDS = 0.4
"""Long enough for three calls to be late (50 ms each): then the gateway is degraded."""
LOOK_SECONDS = 0.02
"""Between two looks at an order; the gateway would take up to 15."""
IDLE_SECONDS = 20.0
"""Past the end of every job, by its own deadline."""


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
    """The caller's end: keeps how its answer begins."""

    response_complete = ending = False

    def __init__(self) -> None:
        self.on_left: Any = None
        self.on_room: Any = None
        self.job: Any = None
        self.disconnected = self.stalled = self.paused = self.response_started = False
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        """The first piece of it."""

    def answer(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        self.begin(status, headers, body)

    def begin(self, status: int, headers: Sequence[tuple[bytes, bytes]], piece: bytes) -> None:
        self.status, self.headers, self.body, self.response_started = status, dict(headers), piece, True

    def write(self, piece: bytes) -> None:
        pass

    def finish(self) -> None:
        pass

    def cut(self) -> None:
        pass

    def stream(self) -> None:
        pass

    def switch(self, headers: Sequence[tuple[bytes, bytes]], sink: Callable[[bytes], None]) -> None:
        """It says nothing in its session, and is gone when that is over."""
        self.status, self.response_started, self.response_complete = 101, True, True

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
    """Made by `rig`. `call` is one request from the ASGI server's hands to its answer. `kept` is where results of jobs
    lie, which is at `lies`."""

    def __init__(
        self, services: Services, live: Live, embedded: Embedded, site: JobSite, kept: Path, lies: Place, rng: Random
    ) -> None:
        self.services, self.live, self.kept, self.lies = services, live, kept, lies
        self._embedded, self.shelf, self._rng = embedded, site.shelf, rng
        self._front = Told(services, _nobody, site.desk)
        self.statuses: Counter[int] = Counter()

    def reload(self, policy: Policy) -> None:
        self.live.put(policy)

    async def call(self, sent: Sent, on_body: Any, on_id: Callable[[str], object] = str) -> Wire:
        """Its caller's end. `on_body` is called as the gateway gets the body, or what of it has a say: from then on the
        policy of the request stands. `on_id` is told what the gateway calls the request, in its audit too."""
        wire, pieces = Wire(), list(enumerate(sent.pieces))
        late = self._rng.random() < 0.1

        async def receive() -> MutableMapping[str, Any]:
            if late:
                await asyncio.sleep(self._rng.random() * 0.01)
            if not pieces:
                await asyncio.Event().wait()
            number, piece = pieces.pop(0)
            if number <= sent.settled:
                on_body(number == sent.settled)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": sent.method,
            "path": sent.path,
            "query_string": sent.query.encode(),
            "headers": sent.headers,
            "client": ("127.0.0.1", 1),
            "extensions": {WIRE: wire},
            ON_ID: on_id,
        }
        if sent.method == "GET":
            on_body(True)
        if self._rng.random() < 0.02:
            asyncio.get_running_loop().call_later(self._rng.random() * 0.02, wire.leave)
        await self._front(scope, receive, cast(Any, None))
        self.statuses[wire.status] += 1
        return wire

    async def idle(self) -> None:
        """Until every job is over, as those are whose caller has left. Raises TimeoutError."""
        async with asyncio.timeout(IDLE_SECONDS):
            while await self.shelf.unfinished():  # noqa: ASYNC110 - nobody tells of the last one
                await asyncio.sleep(LOOK_SECONDS)

    async def without_store(self) -> None:
        """The store stands still until every replica is degraded, and comes back."""
        os.kill(self._embedded.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(STORE_PAUSE_SECONDS)
        finally:
            os.kill(self._embedded.pid, signal.SIGCONT)


@contextmanager
def looking_soon() -> Iterator[None]:
    """Orders are looked at as often as the gateway ever does, for as long as the block lasts."""
    kinds: tuple[Any, ...] = (DashScope, Fal, Gmi)
    engines, before = cast(dict[Any, Any], ordered.BY_ENGINE), dict(ordered.BY_ENGINE)
    usual = [kind.poll_seconds for kind in kinds]
    for kind in kinds:
        kind.poll_seconds = LOOK_SECONDS
    engines["vllm-omni", "videos"] = replace(videos.VLLM_OMNI, poll_seconds=LOOK_SECONDS)
    try:
        yield
    finally:
        engines.update(before)
        for kind, seconds in zip(kinds, usual, strict=True):
            kind.poll_seconds = seconds


async def _nobody(*_: Any) -> None:
    raise AssertionError("only generation paths are asked for")


@asynccontextmanager
async def rig(
    place: Path, embedded: Embedded, first: Policy, rng: Random, zone: str | None = None
) -> AsyncIterator[Rig]:
    """`zone`: where results of jobs are kept.

    Built as `app.create_app` does it, but for probes (nobody could be scraped) and the other pages."""
    live, telemetry, store, owner = Live(first), Telemetry(), Store(embedded.url), new_owner()
    leases = Leases(store, owner, fresh=True)
    lessons = Lessons(store, Forgetting(PRIOR, PRIOR_WEIGHT, MEMORY))
    view = View(store, leases, lessons, lambda: live.current, Circuits())
    client, budgets = Client(), Budgets(store)
    chain = Chain(AUDIT_KEY, place, f"chain-{owner}")
    kept = place / "artefacts"
    settings = Settings(
        key_pepper=SecretStr(PEPPER),
        data_dir=place / "data",
        artefacts=str(kept),
        artefacts_zone=zone,
        artefacts_floor=0,
    )
    services = Services(
        settings,
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
        ReportDesk(settings),
        Flow(store, owner, TTFT_BUCKETS, view.now),
        rng=Random(rng.random()),
    )
    site = JobSite(services, Room.of(settings, embedded.url, owner, jobs_secret(settings) or b""), store)
    live.on_reload += [client.keep, lambda made: view.tries.keep(frozenset(made.upstreams)), lambda _: view.rebuild()]
    store.listen(lambda *_: view.rebuild())
    await store.check()
    await site.check()
    await view.refresh()
    runs = (leases.beat_forever, view.run, services.receipts.run, *site.runs)
    tasks = [asyncio.create_task(cast(Any, run())) for run in runs]
    try:
        yield Rig(services, live, embedded, site, kept, Place(True, zone), rng)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await site.aclose()
        await leases.drain()
        await budgets.aclose()
        await client.aclose()
        await store.aclose()
        chain.close()
