"""What a registration may not do to workers that the policy's own sources find."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.console.registration import Wanted, enrol
from gateway.edge.services import Services
from gateway.errors import WorkerConflict
from gateway.joining import Joining
from gateway.policy.live import LivePolicy
from gateway.store.connection import Store
from tests.edge.test_books import services_of
from tests.finders.nameserver import NameServer, name_server
from tests.policy.test_live_members import write
from tests.polling import until
from tests.worlds import policy

THERE, FOUND = "http://10.0.0.9:8000", "gpu-10-0-0-9-8000"


def folder(place: Path) -> Path:
    """Backend `gpu` finds workers by DNS and by their word, backend `other` by their word alone."""
    write(place, discover=[{"dns": "w.test", "port": 8000}, {"registration": True}])
    whole = json.loads((place / "backends.yaml").read_text())
    first = whole["backends"][0]
    second = {**first, "name": "other", "upstreams": [], "discover": [{"registration": True}]}
    (place / "backends.yaml").write_text(json.dumps({**whole, "backends": [first, second]}))
    return place


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    async with name_server() as running:
        running.records = {("w.test", "A"): ["10.0.0.9"]}
        yield running


@pytest.fixture
async def services(server: NameServer, valkey: Store, tmp_path: Path) -> AsyncIterator[Services]:
    live = LivePolicy(folder(tmp_path / "folder"), {})
    made = replace(services_of(policy()), live=live, joining=Joining(valkey, live, server.resolver))
    task = asyncio.create_task(made.joining.finders.run())
    await until(lambda: FOUND in made.policy.upstreams)
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def asked(services: Services, **said: Any) -> Any:
    return enrol(services, Wanted(**{"backend": "gpu", "url": THERE, **said}), from_loopback=True)


@pytest.mark.parametrize("claim", [{"backend": "other"}, {"url": "https://10.0.0.9:8000"}])
async def test_a_worker_that_was_found_is_not_led_into_another_backend_or_scheme(
    services: Services, claim: dict[str, Any]
) -> None:
    with pytest.raises(WorkerConflict):
        await asked(services, name="mine", **claim)
    assert services.policy.upstreams[FOUND].url == THERE
    assert services.joining.roster.members == ()


async def test_a_worker_that_was_found_keeps_its_name_and_its_drain(services: Services) -> None:
    await services.joining.roster.drain(FOUND, "new fans")
    told = await asked(services, name="mine")
    assert (told["name"], told["upstream"]) == ("mine", FOUND)
    assert "mine" not in services.policy.upstreams
    assert services.joining.out(FOUND) == "drained"


async def test_one_that_came_first_by_its_own_word_goes_where_the_policys_source_has_it(
    services: Services, server: NameServer
) -> None:
    await asked(services, backend="other", url="http://10.0.0.8:8000", name="mine")
    assert services.policy.upstreams["mine"].backend == "other"
    server.records = {("w.test", "A"): ["10.0.0.8", "10.0.0.9"]}
    await until(lambda: "gpu-10-0-0-8-8000" in services.policy.upstreams)
    assert "mine" not in services.policy.upstreams
