"""Everything that runs during the test, and every way to look at it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import anthropic
import httpx
import openai
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from gateway.fleet import readings
from gateway.model import Reading
from loadtests.engine import policy
from loadtests.engine.kinds import About
from loadtests.engine.process import Engine
from loadtests.fleet_page import FleetPage, parse
from loadtests.simfleet.config import DEFAULT_MANAGED_KEY, DEFAULT_MODEL
from loadtests.simfleet.harness import start as start_fleet
from loadtests.stack import free_port, start_gateway

KEY = "demo"
LOCAL = {"X-Data-Residency": "local"}
"""Makes sure that an answer is the engine's: the simulated API may not see the request."""
PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.05
MARGIN_TOKENS = 64
"""Left of the context for the prompt of a stream that writes as long as it can."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stand:
    """`http` asks the gateway, `direct` the engine."""

    engine: Engine
    about: About
    gateway: str
    http: httpx.AsyncClient
    direct: httpx.AsyncClient
    store: Redis

    def body(self, **more: Any) -> dict[str, Any]:
        return {"model": self.about.model, "messages": [{"role": "user", "content": "hello"}], **more}

    def long(self, **more: Any) -> dict[str, Any]:
        """A chat that writes until its context is full."""
        return self.body(max_tokens=self.about.longest - MARGIN_TOKENS, ignore_eos=True, **more)

    def openai(self) -> openai.AsyncOpenAI:
        """The official client, as it is, with requests that stay on the engine."""
        return openai.AsyncOpenAI(
            base_url=f"{self.gateway}/v1",
            api_key=KEY,
            max_retries=0,
            timeout=PATIENCE_SECONDS,
            default_headers=LOCAL,
            http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
        )

    def anthropic(self) -> anthropic.AsyncAnthropic:
        return anthropic.AsyncAnthropic(
            base_url=self.gateway,
            api_key=KEY,
            max_retries=0,
            timeout=PATIENCE_SECONDS,
            default_headers=LOCAL,
            http_client=anthropic.DefaultAsyncHttpxClient(trust_env=False),
        )

    async def gauges(self) -> dict[str, float]:
        """The engine's own page, without the gateway: metric -> sum over its labels."""
        found: dict[str, float] = {}
        for family in text_string_to_metric_families((await self.direct.get("/metrics")).text):
            for name, _, value, *_ in family.samples:
                found[name] = found.get(name, 0.0) + value
        return found

    async def running(self) -> int:
        return int((await self.gauges())[self.about.kind.running])

    async def waiting(self) -> int:
        return int((await self.gauges())[self.about.kind.waiting])

    async def page(self) -> FleetPage:
        return parse((await self.http.get("/metrics")).text)

    async def shown(self) -> dict[str, float]:
        """The worker's row on the gateway's /metrics."""
        return (await self.page()).upstreams[policy.BACKEND, policy.WORKER]

    async def reading(self) -> Reading:
        """The worker's row in the store."""
        row = await self.store.hget(readings.READINGS_KEY, policy.WORKER)
        if not isinstance(row, bytes):
            raise LookupError("the store has no reading of the worker")
        return readings.parse(row)

    async def leases(self) -> int:
        """Those on the worker's backend, from the store itself."""
        return int(await self.store.hlen(f"gw:{{{policy.BACKEND}}}:leases"))

    async def receipt(self, request_id: str) -> dict[str, Any]:
        """A receipt, once it is there; empty where it never comes."""

        async def look() -> dict[str, Any] | None:
            answer = await self.http.get(f"/v1/gateway/receipts/{request_id}")
            return answer.json() if answer.status_code == httpx.codes.OK else None

        return (await until(look, 5.0))[0] or {}


async def until(condition: Callable[[], Awaitable[T | None]], within: float) -> tuple[T | None, float]:
    """The first truthy value and the seconds it took; the last value, whatever it was, where none came in time."""
    began = time.monotonic()
    while True:
        value, took = await condition(), time.monotonic() - began
        if value or took > within:
            return value, took
        await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def build(command: str, place: Path, logs: Path) -> AsyncIterator[Stand]:
    """Starts engine, simulated API and gateway in `place`; what engine and gateway print goes to `logs`.

    Raises EngineFault, SimFault or StackFault."""
    engine = Engine(command, free_port(), policy.SEATS, logs / "engine.log")
    with ExitStack() as stack:
        stack.callback(engine.stop)
        engine.start()
        about = await engine.ready()
        api = {"ttft_median_s": 0.05, "tokens_per_s": 5000.0}
        fleet = stack.enter_context(start_fleet(workers=0, managed=1, api=api))
        folder, data = place / "policies", place / "data"
        policy.write(
            folder, engine.url, about.kind.name, about.model, fleet.managed[0].url, DEFAULT_MODEL, DEFAULT_MANAGED_KEY
        )
        gateway = stack.enter_context(start_gateway(folder, data, log=logs / "gateway.log"))
        asking: dict[str, Any] = {"trust_env": False, "timeout": PATIENCE_SECONDS}
        async with (
            httpx.AsyncClient(base_url=gateway.url, headers={"Authorization": f"Bearer {KEY}"}, **asking) as http,
            httpx.AsyncClient(base_url=engine.url, **asking) as direct,
            Redis(unix_socket_path=str(data / "store.sock")) as store,
        ):
            yield Stand(engine, about, gateway.url, http, direct, store)
