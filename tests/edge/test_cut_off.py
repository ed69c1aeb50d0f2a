"""What is cancelled: a job that may be there is not said to be none, and only the end of the process is called one."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from gateway.cli.server import CUT_SECONDS
from gateway.edge.job_desk import TAKEN_SECONDS
from gateway.jobs.durable import Durable
from gateway.model import Quota
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from loadtests.residency.memory import Loop, running_loop
from loadtests.residency.oracle import Ask, Rule
from loadtests.residency.rig import Rig, Wire, rig
from loadtests.residency.traffic import Sent
from loadtests.residency.worlds import KEYS, as_policy
from tests.residency.test_conditions import WORLD, Far

HOME, CLOUD = WORLD.backends
FREE = replace(
    WORLD, backends=(replace(HOME, dialect="vllm-omni"), CLOUD), rules=(Rule("all", {}, ("gpu",), (), (), ()),)
)
DAILY = Quota("tenant acme: requests per day", "requests", 10, "day", of="tenant")
CHAT = Sent(
    Ask("qwen", "acme", (), "standard", False, "completions"),
    [(b"content-type", b"application/json"), (b"authorization", b"Bearer " + KEYS["acme"].encode())],
    "/v1/completions",
    b'{"model":"qwen","prompt":"x","max_tokens":1}',
)
FILM = Sent(
    Ask("studio", "acme", (), "standard", False, "videos"),
    [
        (b"content-type", b"application/json"),
        (b"authorization", b"Bearer " + KEYS["acme"].encode()),
        (b"x-gateway-deadline-ms", b"1500"),
        (b"x-data-residency", b"eu"),
    ],
    "/v1/videos",
    b'{"model":"studio","prompt":"a cat"}',
    query="wait=30",
    job=True,
)


class Disk(Durable):
    """Syncs when it is told to."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.reached, self.synced = asyncio.Event(), asyncio.Event()

    async def sync(self) -> None:
        self.reached.set()
        await self.synced.wait()


@dataclass
class Cut:
    """A gateway whose store is slow on its disk, and a film that is cut off while it is taken in."""

    made: Rig
    disk: Disk
    ids: list[str] = field(default_factory=list)

    async def film(self, *, leaving: bool = True) -> asyncio.Task[Wire]:
        task = asyncio.create_task(self.made.call(FILM, lambda _: None, self.ids.append))
        reached = asyncio.create_task(self.disk.reached.wait())
        done, _ = await asyncio.wait((task, reached), timeout=5, return_when=asyncio.FIRST_COMPLETED)
        assert done == {reached}, [one.result().body for one in done]
        if leaving:
            self.made.services.leaving.set()
        task.cancel()
        return task

    async def jobs(self) -> list[str]:
        return [one.id for one in (await self.made.shelf.page("acme"))[0]]

    def left(self) -> int:
        known = self.made.services.till.left(DAILY)
        return DAILY.cap if known is None else known.left

    def audited(self) -> str:
        return "".join(one.read_text() for one in self.made.kept.parent.glob("chain-*"))


@asynccontextmanager
async def slow_disk(place: Path, embedded: Embedded) -> AsyncIterator[Cut]:
    running_loop().far = Far("hang")
    policy = as_policy(FREE, Random(1), "w")
    keys = {digest: replace(one, quotas=(DAILY,)) for digest, one in policy.keys.items()}
    async with rig(place, embedded, replace(policy, keys=keys), Random(3), "eu") as made:
        made.shelf._durable = disk = Disk(made.services.receipts._store)
        yield Cut(made, disk)


def test_a_job_is_waited_for_less_long_than_the_server_waits() -> None:
    assert TAKEN_SECONDS < CUT_SECONDS


def test_a_job_that_is_cut_off_while_it_is_taken_in_is_answered(tmp_path: Path, own_server: Embedded) -> None:
    async def play() -> None:
        async with slow_disk(tmp_path, own_server) as cut:
            task = await cut.film()
            asyncio.get_running_loop().call_later(0.1, cut.disk.synced.set)
            began = time.monotonic()
            wire = await task
            assert time.monotonic() - began < CUT_SECONDS, "and not for as long as its caller would"
            assert (wire.status, [json.loads(wire.body)["id"]]) == (200, await cut.jobs())
            assert cut.left() == DAILY.cap - 1
            assert "shutting_down" not in cut.audited()

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(play())


def test_a_job_of_which_nothing_is_known_is_not_to_be_repeated(tmp_path: Path, own_server: Embedded) -> None:
    async def play() -> None:
        async with slow_disk(tmp_path, own_server) as cut:
            wire = await (await cut.film())
            assert (wire.status, json.loads(wire.body)["error"]["code"]) == (503, "shutting_down")
            assert wire.headers[b"x-should-retry"] == b"false"
            assert b"retry-after" not in wire.headers
            assert len(await cut.jobs()) == 1
            assert cut.left() == DAILY.cap - 1
            receipt = await cut.made.services.receipts.find("acme", cut.ids[0])
            assert receipt is None or b"shutting_down" not in receipt, "its only receipt is the job's"
            assert "shutting_down" not in cut.audited()

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(play())


def test_what_is_cancelled_while_the_process_stays_is_a_fault_of_ours(tmp_path: Path, own_server: Embedded) -> None:
    async def play() -> None:
        running_loop().far = Far("hang")
        async with rig(tmp_path, own_server, as_policy(FREE, Random(1), "w"), Random(3)) as made:
            told = list[object]()
            for sent in (CHAT, CHAT._replace(body=b"", streamed=True)):
                task = asyncio.create_task(made.call(sent, told.append))
                async with asyncio.timeout(5):
                    while not made.services.telemetry.inflight.value:  # noqa: ASYNC110 - it tells nobody
                        await asyncio.sleep(0.001)
                task.cancel()
                wire = await task
                assert (wire.status, json.loads(wire.body)["error"]["code"]) == (500, "internal_error")

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(play())
