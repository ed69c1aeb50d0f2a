"""Tells whoever asked for it how a job ended: durable, by any replica, again and again for some hours.

Whoever ends a job puts its id into KEYS[0] in the same step (`jobs/*.lua`); the message itself is made from the record
when it is sent. It holds no more than ids and the state: who wants to know more asks for the job with its key. A try
whose process died counts, and is made up for by another one: a receiver may hear a message twice, by one `webhook-id`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from urllib.parse import urlsplit

import msgspec

from gateway.errors import StoreFault
from gateway.jobs.record import Job
from gateway.store.connection import Store
from gateway.store.scripts import load

KEYS = ["gw:{jobs}:hooks", "gw:{jobs}:hooks:tries"]
PAUSES = (5, 30, 120, 600, 1800, 3600, 10800)
"""Seconds before each further try: eight in all, over four and a half hours."""
SECONDS = 1.0
TRY_SECONDS = 60
"""Longer than a message takes."""
AT_ONCE, AT_ONCE_OF_FAILING = 64, 16
"""Messages that one process has under way; and to one receiver of a tenant that took none within FAILING_SECONDS: it
may let each wait until its time is over, and others have theirs meanwhile."""
FAILING_SECONDS, POSTPONED_SECONDS = 60.0, 60
_TAKE, _LATER = load("gateway.jobs", "hooks"), load("gateway.jobs", "hooks_later")
_VIDEO = {"succeeded": "video.completed", "failed": "video.failed"}
_log = logging.getLogger("gateway")

Find = Callable[[str], Awaitable[Job | None]]
Post = Callable[[Job, str, bytes], Awaitable[bool]]
"""Job, id and body of a message -> whether it was taken."""


class Hooks:
    """One per process. `told(taken)` hears what became of each try."""

    def __init__(self, store: Store, find: Find, post: Post, told: Callable[[bool], None]) -> None:
        self._store, self._find, self._post, self._told = store, find, post, told
        self._receivers = Receivers()

    async def run(self) -> None:
        sending: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as group:
            while True:
                due = await self._due(AT_ONCE - len(sending))
                for id, number in due:
                    task = group.create_task(self._send(id, number))
                    sending.add(task)
                    task.add_done_callback(sending.discard)
                if not due:
                    await asyncio.sleep(SECONDS)
                elif len(sending) >= AT_ONCE:
                    await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)

    async def look(self) -> int:
        """Sends what is due; how many messages that were."""
        due = await self._due(AT_ONCE)
        await asyncio.gather(*(self._send(id, number) for id, number in due))
        return len(due)

    async def _due(self, most: int) -> list[tuple[str, int]]:
        """Ids, and the number of this try."""
        try:
            taken = await self._store.eval(_TAKE, KEYS, [TRY_SECONDS, most])
        except StoreFault:
            return []
        return [(taken[at].decode(), int(taken[at + 1])) for at in range(0, len(taken), 2)]

    async def _send(self, id: str, number: int) -> None:
        try:
            job = await self._find(id)
            if job is None or job.webhook is None or not job.over:
                await self._forget(id)
                return
            receiver = job.tenant, urlsplit(job.webhook).hostname
            if self._receivers.busy(receiver):
                await self._postpone(id)
                return
            with self._receivers.sending(receiver) as told:
                taken = await self._post(job, message_id(job), message(job))
                told(taken)
            self._told(taken)
            if taken:
                await self._forget(id)
            elif number > len(PAUSES):
                _log.warning("a webhook took no message of a job: given up", extra={"fields": {"job": id}})
                await self._forget(id)
            else:
                await self._store.eval(_LATER, KEYS[:1], [id, PAUSES[number - 1]])
        except StoreFault:
            return  # it is due again when its time is over

    async def _postpone(self, id: str) -> None:
        """It was not tried."""
        later = self._store.eval(_LATER, KEYS[:1], [id, POSTPONED_SECONDS])
        await asyncio.gather(later, self._store.call("HINCRBY", KEYS[1], id, -1))

    async def _forget(self, id: str) -> None:
        await asyncio.gather(self._store.call("ZREM", KEYS[0], id), self._store.call("HDEL", KEYS[1], id))


Receiver = tuple[str, str | None]
"""A tenant and a host."""


class Receivers:
    """Of one process: how many messages each has under way, and which have just taken none."""

    def __init__(self) -> None:
        self._under_way: Counter[Receiver] = Counter()
        self._failing: dict[Receiver, float] = {}

    def busy(self, one: Receiver) -> bool:
        now = time.monotonic()
        self._failing = {each: until for each, until in self._failing.items() if until > now}
        return one in self._failing and self._under_way[one] >= AT_ONCE_OF_FAILING

    @contextmanager
    def sending(self, one: Receiver) -> Iterator[Callable[[bool], None]]:
        """What is yielded hears whether it was taken."""

        def told(taken: bool) -> None:
            if taken:
                self._failing.pop(one, None)
            else:
                self._failing[one] = time.monotonic() + FAILING_SECONDS

        self._under_way[one] += 1
        try:
            yield told
        finally:
            self._under_way[one] -= 1
            if not self._under_way[one]:
                del self._under_way[one]


def event_of(job: Job) -> str:
    """Of a job that is over. A video that did neither has the event of any job: OpenAI has none."""
    return (_VIDEO.get(job.state) if job.endpoint == "videos" else None) or f"job.{job.state}"


def message_id(job: Job) -> str:
    """The same for all tries, whoever sends them."""
    return "msg_" + sha256(f"{job.id}\0{job.state}".encode()).hexdigest()[:32]


def message(job: Job) -> bytes:
    """JSON, in the shape of OpenAI's events; the same bytes whenever it is made."""
    data = {"id": job.id, "object": "video" if job.endpoint == "videos" else "job", "state": job.state}
    if job.error is not None:
        data["error"] = job.error[0]
    return msgspec.json.encode(
        {
            "id": message_id(job),
            "object": "event",
            "type": event_of(job),
            "created_at": int(job.ended or job.created),
            "data": data,
        }
    )
