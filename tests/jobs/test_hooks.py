"""Webhooks of jobs: due in the store, sent by whoever comes first, again until they are taken or given up."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

import msgspec
import pytest

from gateway.jobs.hooks import KEYS, PAUSES, Hooks, event_of, message, message_id
from gateway.jobs.record import Job
from gateway.model import JobState
from gateway.store.connection import Store

JOB = Job(
    id="video_1",
    request="r",
    tenant="acme",
    key="",
    model="film",
    endpoint="videos",
    policy="p",
    created=1.0,
    expires=2.0,
    ended=1.5,
    state="succeeded",
    webhook="https://hooks.example.com/",
)


@dataclass
class Site:
    """`taken`: what its receiver says, one after the other; the last one for ever."""

    store: Store
    job: Job | None = JOB
    taken: list[bool] = field(default_factory=lambda: [True])
    posted: list[tuple[str, bytes]] = field(default_factory=list)
    told: list[bool] = field(default_factory=list)

    def hooks(self) -> Hooks:
        return Hooks(self.store, self._find, self._post, self.told.append)

    async def due(self, id: str = "video_1") -> None:
        """As a script does that ends a job."""
        await self.store.call("ZADD", KEYS[0], 0, id)

    async def left(self) -> float | None:
        """Seconds until it is due; None: nothing is left of it."""
        score = await self.store.call("ZSCORE", KEYS[0], "video_1")
        if score is None:
            assert await self.store.call("HLEN", KEYS[1]) == 0
            return None
        return float(score) - int((await self.store.call("TIME"))[0])

    async def _find(self, id: str) -> Job | None:
        return self.job

    async def _post(self, job: Job, id: str, body: bytes) -> bool:
        self.posted.append((id, body))
        return self.taken.pop(0) if len(self.taken) > 1 else self.taken[0]


async def test_it_is_sent_once_and_forgotten(store: Store) -> None:
    site = Site(store)
    await site.due()
    assert [await site.hooks().look() for _ in range(2)] == [1, 0]
    assert [id for id, _ in site.posted] == [message_id(JOB)]
    assert site.told == [True]
    assert await site.left() is None


async def test_two_replicas_do_not_send_it_at_the_same_time(store: Store) -> None:
    site, other = Site(store, taken=[False]), Site(store)
    await site.due()
    await site.hooks().look()
    assert await other.hooks().look() == 0


async def test_it_is_sent_again_later_and_later_and_given_up(valkey: Store) -> None:
    site, pauses = Site(valkey, taken=[False]), []
    await site.due()
    for _ in range(len(PAUSES)):
        await site.hooks().look()
        left = await site.left()
        assert left is not None
        pauses.append(round(left))
        await site.due()
    assert pauses == [pytest.approx(pause, abs=2) for pause in PAUSES]
    await site.hooks().look()
    assert await site.left() is None, "given up"
    assert len(site.posted) == len(PAUSES) + 1 == 8
    assert len(set(site.posted)) == 1, "its id and its bytes are the same every time"
    assert site.told == [False] * 8


async def test_a_try_whose_process_died_counts_and_is_made_up_for(valkey: Store) -> None:
    site = Site(valkey)
    await site.due()
    await valkey.call("HSET", KEYS[1], "video_1", len(PAUSES))
    site.taken = [False]
    await site.hooks().look()
    assert await site.left() is None


async def test_a_receiver_that_takes_nothing_leaves_room_for_others(
    valkey: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One lets every message wait; they are more than a process has under way."""
    monkeypatch.setattr("gateway.jobs.hooks.AT_ONCE", 6)
    monkeypatch.setattr("gateway.jobs.hooks.AT_ONCE_OF_FAILING", 2)
    heard, stalled = asyncio.Event(), 0

    async def find(id: str) -> Job:
        tenant, _ = id.split(":")
        return msgspec.structs.replace(JOB, id=id, tenant=tenant, webhook=f"https://{tenant}.example.com/{id}")

    async def post(job: Job, id: str, body: bytes) -> bool:
        nonlocal stalled
        if job.tenant == "good":
            heard.set()
            return True
        stalled += 1
        if stalled > 6:
            await asyncio.Event().wait()
        return False

    for number in range(20):
        await valkey.call("ZADD", KEYS[0], 0, f"bad:{number:02}")
    await valkey.call("ZADD", KEYS[0], 1, "good:1")
    running = asyncio.create_task(Hooks(valkey, find, post, lambda taken: None).run())
    try:
        async with asyncio.timeout(5):
            await heard.wait()
        assert 6 < stalled <= 8
        tries = {int(one) for one in (await valkey.call("HVALS", KEYS[1]))}
        assert tries <= {0, 1}, "what was postponed was not tried"
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(
    "job", [None, msgspec.structs.replace(JOB, webhook=None), msgspec.structs.replace(JOB, state="running")]
)
async def test_what_nobody_is_to_hear_is_forgotten(valkey: Store, job: Job | None) -> None:
    site = Site(valkey, job=job)
    await site.due()
    await site.hooks().look()
    assert site.posted == []
    assert await site.left() is None


@pytest.mark.parametrize(
    ("endpoint", "state", "event"),
    [
        ("videos", "succeeded", "video.completed"),
        ("videos", "failed", "video.failed"),
        ("videos", "cancelled", "job.cancelled"),
        ("videos", "expired", "job.expired"),
        ("images/generations", "succeeded", "job.succeeded"),
        ("images/edits", "failed", "job.failed"),
    ],
)
def test_events(endpoint: str, state: JobState, event: str) -> None:
    job = msgspec.structs.replace(JOB, endpoint=endpoint, state=state)
    assert event_of(job) == event
    assert json.loads(message(job))["type"] == event


def test_a_message_holds_ids_and_no_content() -> None:
    failed = msgspec.structs.replace(JOB, state="failed", error=("upstream_error", "words of an upstream"))
    told = json.loads(message(failed))
    assert told == {
        "id": message_id(failed),
        "object": "event",
        "type": "video.failed",
        "created_at": 1,
        "data": {"id": "video_1", "object": "video", "state": "failed", "error": "upstream_error"},
    }
    assert message_id(failed) != message_id(JOB)
