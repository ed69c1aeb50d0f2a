"""Found workers and everything that remembers something of each: what stays when ten thousand have come and gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.fleet import readings, view
from gateway.fleet.circuits import Circuits
from gateway.fleet.leases import Leases, new_owner
from gateway.fleet.lessons import Forgetting, Lessons
from gateway.fleet.roster import Registration
from gateway.fleet.view import Hooks, View
from gateway.joining import Joining
from gateway.model import Member, Reading, Scrape
from gateway.policy.live import LivePolicy
from gateway.routing.learn import MEMORY, PRIOR, PRIOR_WEIGHT
from gateway.store.connection import Store
from gateway.telemetry import Telemetry
from gateway.telemetry.declared import MOST_GONE
from tests.policy.test_live_members import write

WAVES, PER_WAVE = 30, 100


@pytest.fixture
def live(tmp_path: Path) -> LivePolicy:
    return LivePolicy(write(tmp_path / "folder", discover=[{"registration": True}, {"dns": "w.test", "port": 1}]), {})


@pytest.fixture
async def fleet(live: LivePolicy, valkey: Store) -> AsyncIterator[tuple[Joining, View]]:
    joining, leases = Joining(valkey, live), Leases(valkey, new_owner(), fresh=True)
    lessons = Lessons(valkey, Forgetting(PRIOR, PRIOR_WEIGHT, MEMORY))
    hooks = Hooks(out=joining.out, joined=joining.roster.joined)
    made = View(valkey, leases, lessons, lambda: live.current, Circuits(), hooks=hooks)
    joining.on_change.append(made.rebuild)
    live.on_reload.append(made.keep)
    yield joining, made
    await leases.drain()


def members(wave: int) -> tuple[Member, ...]:
    hosts = [f"10.1.{wave}.{number}" for number in range(PER_WAVE)]
    return tuple(Member("gpu", "dns", f"http://{host}:1", (host,), 1) for host in hosts)


async def test_what_three_thousand_workers_leave_behind(
    live: LivePolicy, fleet: tuple[Joining, View], valkey: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "FORGOTTEN_SECONDS", -1.0)
    (_, made), telemetry = fleet, Telemetry()
    live.on_reload.append(lambda policy: telemetry.keep(policy.upstreams))
    for wave in range(WAVES):
        live.meet(members(wave), {})
        names = [name for name in live.current.upstreams if name != "w1"]
        rows: list[Any] = [value for name in names for value in (name, f"0||{10**12}|{{}}")]
        await valkey.call("HSET", readings.READINGS_KEY, *rows)
        for name in names:
            made.circuits.failed(live.current.upstreams[name], (), made.now(), made.now(), at_once=True)
            made.tries.failed(name, made.now())
            telemetry.count_attempt(name, "failed")
        await made.refresh()
        made.rebuild()
    live.meet((), {})
    made.rebuild()
    assert made.current.states.keys() == {"w1"}
    await made.refresh()
    assert int(await valkey.call("HLEN", readings.READINGS_KEY)) == 0
    assert len(telemetry._attempts.rows) <= MOST_GONE + PER_WAVE
    assert not made.circuits._circuits
    assert not made.tries._tried
    assert not made._outside


async def test_a_reading_stays_as_long_as_somebody_scrapes_or_a_lease_is_there(
    fleet: tuple[Joining, View], valkey: Store
) -> None:
    """Of a worker that this replica does not know: another one may."""
    _, made = fleet
    await readings.write(valkey, "elsewhere", Scrape(running=1))
    old = {"gone": Reading(at=1.0), "leased": Reading(at=1.0), "w1": Reading(at=1.0)}
    for name in old:
        await valkey.call("HSET", readings.READINGS_KEY, name, "3||1000|{}")
    await made._forget({**old, **await readings.read(valkey)}, {"leased@3": (1, 1)})
    assert set(await readings.read(valkey)) == {"elsewhere", "leased", "w1"}


async def test_a_registered_worker_joins_with_its_time_and_a_drained_one_is_out_at_once(
    live: LivePolicy, fleet: tuple[Joining, View]
) -> None:
    joining, made = fleet
    one = Registration("gpu", "http://10.0.0.9:8000", ("10.0.0.9",), 8000)
    await joining.roster.register("new", one, 30.0, None)
    state = made.current.states["new"]
    assert state.joined == made.current.at, "not told yet: it has just come"
    await joining.roster.look()
    made.rebuild()
    joined = made.current.states["new"].joined
    assert joined is not None
    assert 0 <= made.now() - joined < 5
    assert made.current.states["w1"].joined is None
    await joining.roster.drain("w1", "")
    assert (made.current.states["w1"].out, made.current.states["new"].out) == ("drained", None)
    await joining.roster.undrain("w1")
    assert made.current.states["w1"].out is None
    there = ("10.0.0.1",)
    live.meet((Member("gpu", "dns", "http://10.0.0.1:8000", there, 8000, leaving=True),), {})
    made.rebuild()
    assert made.current.states["w1"].out == "leaving", "it is written down, and its source says that it ends"
