from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from gateway import app, background, lifespan
from gateway.app import damp
from gateway.background import keep_running
from gateway.cli import listen
from gateway.cli.port import bind
from gateway.console.live.feed import Feed
from gateway.console.live.money import Money
from gateway.edge.job_site import JobSite
from gateway.edge.middleware import Front
from gateway.errors import StartupFault
from gateway.fleet.leases import Leases
from gateway.model import Snapshot, Spill, Tenant, Threshold
from gateway.money.alarms import Alarms
from gateway.money.budgets import Budgets
from gateway.policy.candidate import Candidate, Trial
from gateway.policy.live import LivePolicy
from gateway.reports.desk import Desk
from gateway.settings import Settings
from gateway.startup import keys_refused, zone_refused
from gateway.store.embedded import Embedded
from gateway.telemetry import Export
from gateway.upstreams.client import Client
from tests.worlds import policy, reading, rule, state

POLICIES = Path(__file__).resolve().parents[1] / "policies"


async def test_a_background_task_that_fails_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "RESTART_SECONDS", 0.0)
    runs: list[int] = []
    third = asyncio.Event()

    async def run() -> None:
        runs.append(len(runs))
        if len(runs) == 3:
            third.set()
            await asyncio.Event().wait()
        raise ValueError("unforeseen")

    task = asyncio.create_task(keep_running(run))
    async with asyncio.timeout(5):
        await third.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_which_keys_may_not_take_effect() -> None:
    keyed = replace(policy(), tenants={"t": Tenant("t")}, keys={"ab" * 32: Tenant("t")})
    assert keys_refused(policy(), "") is None
    assert keys_refused(keyed, "pepper") is None
    assert "GATEWAY_KEY_PEPPER" in (keys_refused(keyed, "") or "")
    assert "gone" in (keys_refused(policy(), "pepper", keyed) or "")
    assert keys_refused(keyed, "pepper", policy()) is None


def test_the_gateway_stands_in_a_zone_of_its_policy_or_in_none() -> None:
    assert zone_refused(policy(), None) is None
    assert zone_refused(policy(), "fra") is None
    said = zone_refused(policy(), "mars") or ""
    assert "GATEWAY_ZONE" in said
    assert "fra" in said, "it says what there is"


def test_the_thresholds_of_a_candidate_have_states_of_their_own() -> None:
    live = LivePolicy(POLICIES / "demo")
    mine, other = (
        policy(rules=(rule(spill=Spill(("api",), when=(Threshold("queue_depth", True, False, value),))),))
        for value in (10.0, 1000.0)
    )
    states = {name: state(one, reading=reading(waiting=20)) for name, one in mine.upstreams.items()}
    assert [one.on for one in damp(live, mine, Snapshot(100.0, states), {}).values()] == [True]
    live.candidate = Candidate(Trial("v2", "share", 0.1), other)
    both = damp(live, mine, Snapshot(100.0, states), {})
    assert {key.threshold.value: one.on for key, one in both.items()} == {10.0: True, 1000.0: False}


ENDS: tuple[tuple[object, str], ...] = (
    (Feed, "aclose"),
    (Money, "aclose"),
    (Budgets, "aclose"),
    (lifespan, "stop"),
    (Alarms, "aclose"),
    (Export, "aclose"),
    (Leases, "drain"),
    (Client, "aclose"),
    (JobSite, "aclose"),
    (Desk, "aclose"),
    (Embedded, "stop"),
)
"""As the docstring of `lifespan` promises; many stores are closed in between, by whoever opened them."""


def test_all_ends_in_the_promised_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So messages end after those who send them."""
    order: list[tuple[object, str]] = []

    def recorded(end: tuple[object, str]) -> None:
        real: Callable[..., Any] = getattr(*end)

        def ended(*given: Any) -> Any:
            order.append(end)
            return real(*given)

        monkeypatch.setattr(*end, ended)

    for end in ENDS:
        recorded(end)
    settings = Settings(policies=POLICIES / "demo", data_dir=tmp_path, ledger_url=SecretStr("none"))
    asyncio.run(lived(app.create_app(settings)))
    assert order == list(ENDS)


def test_a_store_that_goes_away_as_it_begins_is_a_startup_fault(
    own_server: Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`gateway` ends with code 2 then, not with one of the server's own."""
    settings = Settings(
        policies=POLICIES / "demo",
        data_dir=tmp_path,
        redis_url=SecretStr(own_server.url),
        ledger_url=SecretStr("none"),
        key_pepper=SecretStr("pepper"),
    )
    made = app.create_app(settings)
    own_server.stop()
    monkeypatch.setattr(listen, "on_hangup", lambda _: None)  # it looks for a terminal
    with bind("127.0.0.1", 0) as sock, pytest.raises(StartupFault, match="the store at"):
        listen.run(made, settings, sock)


async def lived(made: Front) -> None:
    """From its beginning to its end, without a request between."""
    asked, told = asyncio.Queue[dict[str, Any]](), asyncio.Queue[dict[str, Any]]()
    task = asyncio.create_task(made({"type": "lifespan"}, asked.get, told.put))
    async with asyncio.timeout(20):
        for word in ("startup", "shutdown"):
            asked.put_nowait({"type": f"lifespan.{word}"})
            assert (await told.get())["type"] == f"lifespan.{word}.complete"
        await task
