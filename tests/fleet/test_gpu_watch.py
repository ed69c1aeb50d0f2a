"""GPUs with the store: faults that survive a gateway, clearing, agents, history."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from gateway.errors import ConnectFailed
from gateway.fleet import agents, readings
from gateway.fleet.agents import Agents
from gateway.fleet.circuits import Circuits
from gateway.fleet.gpu_history import ENTRIES, GpuHistory, key_of, unpack
from gateway.fleet.gpu_watch import GpuWatch, cleared_key, health_key
from gateway.fleet.leases import Leases, new_owner
from gateway.fleet.lessons import Forgetting, Lessons
from gateway.fleet.view import View
from gateway.model import GpuLook, Gpus, GpuSample, Scrape, Upstream
from gateway.routing.learn import MEMORY, PRIOR, PRIOR_WEIGHT
from gateway.store.connection import Store
from tests.worlds import policy, upstream

WORKER = upstream("w1", "gpu", dcgm="http://10.0.0.1:9400/metrics", hardware=Gpus(count=1))
AGENTED = upstream("w1", "gpu", hostname="n1", gpus=(0, 1))


def gpu(**told: Any) -> GpuSample:
    return GpuSample(**{"uuid": "GPU-a", "index": 0, **told})


class Node:
    """The page of a node, as somebody set it."""

    def __init__(self, *gpus: GpuSample) -> None:
        self.gpus = gpus

    async def look(self, _: Upstream) -> GpuLook | None:
        return GpuLook(self.gpus, 0.1, 30.0)


async def judged(watch: GpuWatch, started: float = 1000.0, worker: Upstream = WORKER) -> Scrape:
    return await watch.judged(worker, Scrape(running=1, started=started), await watch.look(worker))


async def test_a_fault_is_known_to_the_gateway_that_comes_after(valkey: Store) -> None:
    counted: list[tuple[str, str]] = []
    node = Node(gpu(sm=0.25, xid=0))
    watch = GpuWatch(valkey, node.look, lambda *what: counted.append(what))
    calm = await judged(watch)
    assert (calm.gpu, calm.gpu_age, calm.gpus, calm.gpu_fault) == (0.25, 0.1, node.gpus, None)
    node.gpus = (gpu(sm=0.25, xid=79),)
    assert (await judged(watch)).gpu_fault == "xid 79 on GPU-a"
    assert counted == [("w1", "xid 79")]
    after = GpuWatch(valkey, node.look, lambda *what: counted.append(what))
    assert (await judged(after)).gpu_fault == "xid 79 on GPU-a"
    assert (await judged(after, started=2000.0)).gpu_fault is None
    assert (await judged(GpuWatch(valkey, node.look))).gpu_fault is None
    assert counted == [("w1", "xid 79")], "told once"


async def test_an_operator_clears_a_fault_from_any_replica(valkey: Store) -> None:
    node = Node(gpu(xid=0))
    watch = GpuWatch(valkey, node.look)
    await judged(watch)
    node.gpus = (gpu(xid=48),)
    assert (await judged(watch)).gpu_fault is not None
    await GpuWatch(valkey, node.look).clear("w1")
    assert (await judged(watch)).gpu_fault is None
    assert await valkey.call("EXISTS", cleared_key("w1")) == 0, "the word is spent"
    assert 0 < await valkey.call("TTL", health_key("w1")) <= 7 * 86_400


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
async def test_a_clock_of_the_machine_that_jumps_harms_nothing(
    valkey: Store, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    node = Node(gpu(xid=0))
    watch, real = GpuWatch(valkey, node.look), time.time
    await judged(watch)
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    node.gpus = (gpu(xid=48),)
    assert (await judged(watch)).gpu_fault is not None
    assert (await judged(watch)).gpu_fault is not None
    await watch.clear("w1")
    assert (await judged(watch)).gpu_fault is None


async def test_a_page_that_fails_keeps_the_fault_and_its_worker_out(valkey: Store) -> None:
    node = Node(gpu(fault="lost"))
    watch = GpuWatch(valkey, node.look)
    await judged(watch)
    assert (await watch.judged(WORKER, Scrape(healthy=False, reason="unreachable"), None)).gpu_fault == "lost on GPU-a"


async def test_a_worker_without_a_gpu_page_costs_the_store_nothing(valkey: Store) -> None:
    watch = GpuWatch(valkey, Node().look)
    plain = upstream("w2", "gpu")
    assert await watch.judged(plain, Scrape(running=1), await watch.look(plain)) == Scrape(running=1)
    assert await valkey.call("KEYS", "*") == []


async def test_what_another_version_remembered_is_nothing(valkey: Store) -> None:
    await valkey.call("SET", health_key("w1"), b'{"gpus": 3}')
    assert (await judged(GpuWatch(valkey, Node(gpu(xid=79)).look))).gpu_fault is None


async def test_the_page_of_the_node_is_asked_before_agents(valkey: Store) -> None:
    async def failing(_: Upstream) -> GpuLook | None:
        raise ConnectFailed("refused")

    watch = GpuWatch(valkey, failing)
    await watch.agents.push(policy((AGENTED,)), "n1", (gpu(sm=0.5),))
    with pytest.raises(ConnectFailed):
        await watch.look(replace(AGENTED, dcgm=WORKER.dcgm))
    assert (await watch.look(AGENTED)) is not None


async def test_every_replica_shows_the_worker_out_until_it_is_well(valkey: Store) -> None:
    leases = Leases(valkey, new_owner(), fresh=True)
    lessons = Lessons(valkey, Forgetting(PRIOR, PRIOR_WEIGHT, MEMORY))
    view = View(valkey, leases, lessons, policy, Circuits())
    await readings.write(valkey, "w1", Scrape(running=1, gpus=(gpu(xid=79),), gpu_fault="xid 79 on GPU-a"))
    await view.refresh()
    assert view.current.states["w1"].out == "gpu fault: xid 79 on GPU-a"
    await readings.write(valkey, "w1", Scrape(running=1, gpus=(gpu(xid=79),)))
    await view.refresh()
    assert view.current.states["w1"].out is None


# agents


def host_of(count: int) -> tuple[GpuSample, ...]:
    return tuple(GpuSample(uuid=f"GPU-{i}", index=i, sm=i / 4) for i in range(count))


async def test_what_an_agent_told_reaches_the_workers_of_its_host(valkey: Store) -> None:
    free = upstream("w2", "gpu", gpu_uuids=frozenset({"GPU-9", "GPU-x"}))
    others = [
        upstream("w3", "gpu", hostname="n3"),
        upstream("w4", "gpu", gpus=(0,)),
        upstream("w5", "gpu", hostname="n1", pod="a/b"),
        upstream("w6", "gpu", hostname="n1", gpus=(7,)),
    ]
    here, there = policy((AGENTED, free, *others)), Agents(valkey)
    assert await there.push(here, "n1", host_of(4)) == 2, "that of one worker; nobody has the rest"
    assert await there.push(here, "n2", (GpuSample(uuid="GPU-9", index=0, sm=0.9),)) == 1
    reader = Agents(valkey)
    look = await reader.look(AGENTED)
    assert look is not None
    assert ([one.index for one in look.gpus], look.use) == ([0, 1], 0.125)
    assert 0 <= look.age < 2
    by_uuid = await reader.look(free)
    assert by_uuid is not None
    assert [one.uuid for one in by_uuid.gpus] == ["GPU-9"]
    assert [await reader.look(nobody) for nobody in others] == [None] * 4


async def test_an_agent_speaks_for_its_host_alone(valkey: Store) -> None:
    fixed = upstream("w1", "gpu", hostname="n1", gpu_uuids=frozenset({"GPU-0"}))
    free = upstream("w2", "gpu", gpu_uuids=frozenset({"GPU-1"}))
    here, told = policy((fixed, free, upstream("w3", "gpu", hostname="n2"))), Agents(valkey)
    assert await told.push(here, "n1", (gpu(uuid="GPU-0", sm=0.5),)) == 1
    lies = (gpu(uuid="GPU-0", fault="lost"), gpu(uuid="GPU-1", fault="lost"))
    assert await told.push(here, "zz-evil", lies[:1]) is None
    assert await told.push(here, "zz-evil", lies, own=True) is None
    assert await told.push(here, "n2", lies, own=True) == 2, "of its own worker"
    look = await told.look(fixed)
    assert look is not None
    assert [(one.sm, one.fault) for one in look.gpus] == [(0.5, None)]
    assert await told.look(free) is None, "a host's own token speaks for no worker without that host"
    assert await told.push(here, "n2", lies) == 2
    assert await Agents(valkey).look(free) is not None, "that of all agents does"


async def test_what_no_worker_has_fills_neither_the_store_nor_a_replica(
    valkey: Store, caplog: pytest.LogCaptureFixture
) -> None:
    here, there = policy((AGENTED,)), Agents(valkey)
    for number in range(agents.MOST_LINES + 50):
        assert await there.push(here, f"zz-{number}", host_of(32)) is None
    await there.push(here, "zz-0", host_of(32))
    assert sorted(await valkey.call("KEYS", "*")) == [agents.STRANGERS_KEY.encode()]
    strangers = await Agents(valkey).strangers()
    assert len(strangers) == agents.MOST_STRANGERS
    assert strangers["zz-0"] < 5
    assert 0 < await valkey.call("TTL", agents.STRANGERS_KEY) <= agents.STRANGER_SECONDS
    said = [one.fields["host"] for one in caplog.records if one.message == "agent of no worker"]  # type: ignore[attr-defined]
    assert said == [f"zz-{number}" for number in range(agents.MOST_LINES)]


async def test_a_host_is_read_once_a_round_for_all_its_workers(valkey: Store) -> None:
    here = Agents(valkey)
    await here.push(policy((AGENTED,)), "n1", host_of(2))
    assert await here.look(AGENTED) is not None
    await valkey.call("DEL", agents.host_key("n1"))
    assert await here.look(AGENTED) is not None, "not asked again"
    here.keep(policy())
    assert await here.look(AGENTED) is None


async def test_an_agent_that_is_silent_is_unknown_and_the_store_forgets_it(
    valkey: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, key = Agents(valkey), agents.host_key("n1")
    await here.push(policy((AGENTED,)), "n1", (gpu(sm=0.5),))
    assert 0 < await valkey.call("PTTL", key) <= agents.HOLDS_MS
    await valkey.call("PEXPIRE", key, 2_000)
    look = await here.look(AGENTED)
    assert look is not None
    assert 3.0 <= look.age < 4.5
    monkeypatch.setattr(agents, "HOLDS_MS", 1)
    assert await here.look(AGENTED) is None, "it is older than that"
    monkeypatch.undo()
    await valkey.call("SET", key, "[3]", "PX", agents.HOLDS_MS)
    assert await Agents(valkey).look(AGENTED) is None, "of another version"


# history


async def test_an_hour_of_means_comes_back(valkey: Store) -> None:
    history, now = GpuHistory(valkey), float(int(time.time()) // 10 * 10) - 60
    for second, (sm, power) in enumerate([(0.2, 300.0), (0.4, 500.0), (None, 400.0)]):
        await history.note("w1", (gpu(sm=sm, power=power, memory_used=70_000.0, temperature=60.0),), now + second)
    await history.note("w1", (gpu(index=3),), now + 10)
    await history.note("w1", (gpu(),), now + 20)
    found = await history.read("w1")
    (first,), (second,) = found[0], found[3]
    assert first.at == now
    assert (first.sm, first.dram, first.power) == (pytest.approx(0.3, abs=0.005), None, 400.0)
    assert (first.memory_used, first.temperature) == (pytest.approx(70_000, abs=16), 60.0)
    assert (second.at, second.sm, second.power) == (now + 10, None, None)
    assert await history.read("w1", since=now + 5) == {3: [second]}
    assert await history.read("w2") == {}


async def test_a_history_is_bounded_in_length_and_bytes(valkey: Store) -> None:
    history = GpuHistory(valkey)
    eight = tuple(GpuSample(index=i, sm=0.5, dram=0.5, memory_used=7e4, power=6e2, temperature=6e1) for i in range(8))
    for step in range(ENTRIES + 40):
        await history.note("w1", eight, 1e9 + step * 10)
    assert await valkey.call("LLEN", key_of("w1")) == ENTRIES
    assert await valkey.call("MEMORY", "USAGE", key_of("w1"), "SAMPLES", 0) < 40_000
    assert 0 < await valkey.call("TTL", key_of("w1")) <= 7200


async def test_a_replica_that_had_the_worker_before_writes_nothing_old(valkey: Store) -> None:
    late, new = GpuHistory(valkey), GpuHistory(valkey)
    await late.note("w1", (gpu(sm=0.1),), 1000.0)
    await new.note("w1", (gpu(sm=0.9),), 1010.0)
    await new.note("w1", (gpu(),), 1020.0)
    await late.note("w1", (gpu(),), 1030.0)
    (entry,) = await valkey.call("LRANGE", key_of("w1"), 0, -1)
    assert [(one.at, round(one.sm or 0, 2)) for one in unpack(entry)] == [(1010, 0.9)]


async def test_absurd_values_fit_and_junk_is_passed_over(valkey: Store) -> None:
    history = GpuHistory(valkey)
    await history.note("w1", (gpu(index=1 << 20, sm=1e9, power=-5.0, memory_used=1e18),), 1e9)
    await history.note("w1", (), 1e9 + 10)
    await valkey.call("RPUSH", key_of("w1"), "x", b"\0\0\0\0abc")
    (entry, *_) = await valkey.call("LRANGE", key_of("w1"), 0, -1)
    assert [one.power for one in unpack(entry)] == [None]
    assert await history.read("w1", since=0) == {}
