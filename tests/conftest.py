"""Fixtures for everything that needs a store: the embedded Valkey, and Redis too where `redis-server` is installed."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import httpx._transports.default as httpx_default
import pytest
import redis
from hypothesis import settings

from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from loadtests.children import CRADLE

REDIS = shutil.which("redis-server")
settings.register_profile("suite", max_examples=50, deadline=None)
settings.load_profile("suite")
"""Enough in a suite that runs at every change; what hunts for longer is `make fuzz`."""
LEDGER = "GATEWAY_LEDGER_URL"
os.environ.setdefault(LEDGER, "none")
"""A writer is one more process for each gateway: only tests that ask for `ledger_kept` have one."""
PATIENT = 5.0
"""Seconds. Tests that are not about lateness must not fail because the machine is busy."""
WARM = (
    *("click", "gateway.app", "gateway.cli.serve", "loadtests.simfleet.fleet"),
    *("gateway.cli.check", "gateway.cli.keys", "gateway.cli.ledger", "gateway.cli.rollout", "gateway.cli.test"),
)


def pytest_collection() -> None:
    """Next to nothing that is made while modules load and tests are collected is garbage."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Ten thousand collected tests stay to the end: no collection of garbage needs to look at them again."""
    gc.enable()
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def nursery() -> Iterator[None]:
    """Gateways and simulated fleets come out of one process that has loaded them: imports are most of a start."""
    with CRADLE.warm(WARM):
        yield


@pytest.fixture(scope="session", autouse=True)
def authorities_read_once() -> Iterator[None]:
    """Every client of HTTP reads the hundred certificates of those whom it would trust: 30 ms of CPU each."""
    with pytest.MonkeyPatch.context() as patch:
        make, given = httpx_default.create_ssl_context, ("SSL_CERT_FILE", "SSL_CERT_DIR")
        kept = cache(lambda _environment, *args, **options: make(*args, **options))
        patch.setattr(
            httpx_default,
            "create_ssl_context",
            lambda *args, **options: kept(tuple(map(os.environ.get, given)), *args, **options),
        )
        yield


@pytest.fixture
def started_anew() -> Iterator[None]:
    """For what looks at a process from outside: its command line, the environment that it began with."""
    with CRADLE.warm(()):
        yield


@pytest.fixture(scope="module")
def ledger_kept() -> Iterator[None]:
    """What starts keeps its ledger, as it does by default."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(LEDGER, raising=False)
        yield


def keep_nothing(server: Embedded) -> None:
    """Nobody reads its file, which after a whole run takes seconds to be brought to disk."""
    with redis.Redis.from_url(server.url) as client:
        client.config_set("appendonly", "no")


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """One embedded store for the whole run; flush it before use."""
    server = Embedded.start(tmp_path_factory.mktemp("valkey"))
    keep_nothing(server)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    if REDIS is None:
        pytest.skip("redis-server is not installed")
    server = Embedded.start(tmp_path_factory.mktemp("redis"), binary=Path(REDIS))
    keep_nothing(server)
    yield server
    server.stop()


@pytest.fixture(params=["valkey", "redis"])
def store_server(request: pytest.FixtureRequest) -> Embedded:
    """Each kind of store that we support."""
    server: Embedded = request.getfixturevalue("embedded" if request.param == "valkey" else "redis_server")
    return server


@asynccontextmanager
async def connected(server: Embedded) -> AsyncIterator[Store]:
    """A client of the server, emptied first."""
    client = Store(server.url, timeout=PATIENT)
    await client.check()
    await client.call("FLUSHALL")
    yield client
    await client.aclose()


@pytest.fixture
async def store(store_server: Embedded) -> AsyncIterator[Store]:
    """A connected client of an empty store."""
    async with connected(store_server) as client:
        yield client


@pytest.fixture
async def valkey(embedded: Embedded) -> AsyncIterator[Store]:
    """The same on the embedded store alone, for what does not depend on the kind of store."""
    async with connected(embedded) as client:
        yield client


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Embedded]:
    """A store of the test's own, to stop, kill and reconfigure."""
    server = Embedded.start(tmp_path / "store")
    yield server
    server.stop()
