"""Jobs as their callers have them: accepted, looked at, cancelled, deleted, their results opened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from math import inf
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from gateway.edge import job_ask, job_views
from gateway.edge.body import Body
from gateway.edge.calls import Call, Scope
from gateway.edge.cycle import WIRE, Cycle
from gateway.edge.job_checks import checked
from gateway.edge.job_watch import Watch
from gateway.edge.limits import Entry
from gateway.edge.replies import JSON, Receive, Send, identity
from gateway.edge.services import Services
from gateway.errors import (
    ArtefactFault,
    ArtefactsFull,
    InvalidRequest,
    NoCapacity,
    NotFound,
    ShuttingDown,
    StateElsewhere,
    StoreFault,
)
from gateway.jobs.artefacts import Artefacts, Lies, Reading
from gateway.jobs.record import Job
from gateway.jobs.shelf import Shelf
from gateway.model import Artefact, Demand, GenRequest, Tenant
from gateway.routing.board import Board
from gateway.routing.plan import plan_of
from gateway.routing.residency import strictest

WEBHOOK = "X-Gateway-Webhook"
MOST_URL = 2048
MOST_WAIT = 600.0
"""Seconds that an answer may be held for `?wait=`."""
FULL_RETRY_SECONDS, AWAY_RETRY_SECONDS = 60, 2
TAKEN_SECONDS = 0.8
"""How long a job that is cut off while it is taken in is still waited for: less than the server does by then
(`cli/server.py`, CUT_SECONDS), and about as long as a store's sync takes that is half done."""
HOUR = 3600.0
PAGE, MOST_PAGE = 20, 100
_ONCE = b"idempotency-key"
_MOST_ONCE = 256


class JobDesk:
    """One per process."""

    def __init__(self, services: Services, shelf: Shelf, artefacts: Artefacts, lies: Lies) -> None:
        self._s, self._shelf, self._artefacts, self._lies = services, shelf, artefacts, lies
        self.watch = Watch(shelf.read)

    # Taking one in.

    async def take(self, query: bytes, call: Call, request: GenRequest, body: Body, board: Board) -> Accepted:
        """A generation that is to be a job. Raises GatewayError."""
        wait = seconds_of(dict(parse_qsl(query.decode("latin-1"))).get("wait"))
        job = await self.accept(call, request, body, board)
        return Accepted(self, call, job, None if _cut_off() else wait)

    async def accept(self, call: Call, request: GenRequest, body: Body, board: Board) -> Job:
        """Refuses at once what would be refused later; else it is on the store's disk when this returns. Cut off by the
        end of the process it returns all the same, or raises ShuttingDown(retry=False): then the job may be there."""
        tenant = request.tenant
        if request.stream:
            raise InvalidRequest("a job has no stream: its events are at /v1/gateway/jobs/ID/events", param="stream")
        hook, once = self._hook(call, tenant), _once(call)
        again = once is not None and await self._came_before(tenant, once)
        demand = await self._checked(request, body, board, again=again)
        content = job_ask.sealed(call, tenant, body, demand, board.policy)
        entry = Entry(self._s, request, counted=again)
        await entry.enter(board)
        taken = False
        try:
            made, said = self._made(call, request, board, hook), request.endpoint.encode() + content.said()
            job = await self._put(made, content.encoded(), once, said)
            taken = True
        except ShuttingDown:
            taken = True  # as far as anybody knows
            raise
        finally:
            entry.leave(sent=taken, usage=None)
        return job

    async def _put(self, job: Job, content: bytes, once: str | None, said: bytes) -> Job:
        taking = asyncio.ensure_future(self._shelf.accept(job, content, once=once, said=said))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            done, _ = await asyncio.wait((taking,), timeout=TAKEN_SECONDS)
            if done:
                return taking.result()
            what = "whether the job was taken in is not known: look at /v1/gateway/jobs"
            raise ShuttingDown(what, retry=False) from None
        finally:
            taking.cancel()

    def _made(self, call: Call, request: GenRequest, board: Board, hook: str | None) -> Job:
        tenant, endpoint, ask, now = request.tenant, request.endpoint, request.media, time.time()
        return Job(
            id=self._shelf.new_id("video_" if endpoint == job_views.VIDEOS else "job_", tenant.name),
            request=call.id,
            tenant=tenant.name,
            key=tenant.key,
            model=request.model,
            endpoint=endpoint,
            policy=board.policy.version,
            created=now,
            expires=now + self._s.settings.jobs_kept_hours * HOUR,
            deadline=None if request.deadline is None else now + request.deadline - time.monotonic(),
            webhook=hook,
            seconds=None if ask is None else ask.seconds,
            size=None if ask is None else ask.size,
        )

    async def _came_before(self, tenant: Tenant, once: str) -> bool:
        """Then it is the same job: nothing is counted, and nothing bought, for it once more."""
        try:
            return await self._shelf.came_before(tenant.name, once)
        except StoreFault:
            return False

    async def _checked(self, request: GenRequest, body: Body, board: Board, *, again: bool) -> Demand:
        """What is demanded of its data. `again`: what is refused by now was accepted."""
        if not again:
            demand = await checked(self._s, self._lies, request, body, board)
            try:
                await self._artefacts.room()
            except ArtefactFault as fault:
                raise ArtefactsFull(fault.message, retry_after=FULL_RETRY_SECONDS) from None
            return demand
        return strictest(request.residency, plan_of(request, board).demand)

    def _hook(self, call: Call, tenant: Tenant) -> str | None:
        """Where it is told how the job ended. Raises InvalidRequest for what is no address that we would go to."""
        given = call.text(WEBHOOK.lower())
        url = given or tenant.hook.url
        if url is None:
            return None
        settings = self._s.settings
        if tenant.hook.secret is None and settings.webhook_secret is None:
            if given is None:
                return None
            raise InvalidRequest("this gateway has no secret to sign a webhook of yours with", param=WEBHOOK)
        if given is not None and not is_hook(url, allowed_hosts(settings.webhook_hosts)):
            what = f"give an https address with a host, no user name, at most {MOST_URL} characters"
            raise InvalidRequest(f"{WEBHOOK}: {what}", param=WEBHOOK)
        return url

    # Looking.

    async def read(self, id: str, tenant: Tenant) -> Job:
        """Raises NotFound, the same for what is another's and what never was."""
        try:
            return await self._shelf.read(id, tenant.name)
        except StoreFault:
            raise _away() from None

    async def waited(self, job: Job, seconds: float | None) -> Job:
        """As it is once it is over, or so many seconds later."""
        if not seconds or job.over:
            return job
        try:
            return await self.watch.ended(job.id, job.tenant, seconds)
        except StoreFault:
            return job

    async def page(
        self, tenant: Tenant, after: str | None, limit: int, *, oldest_first: bool, videos: bool
    ) -> tuple[list[Job], bool]:
        """And whether there are more. `videos`: those alone."""
        found: list[Job] = []
        try:
            while True:
                rows, more = await self._shelf.page(
                    tenant.name, after=after, limit=MOST_PAGE, oldest_first=oldest_first
                )
                found += [one for one in rows if not videos or one.endpoint == job_views.VIDEOS]
                if len(found) > limit or not more or not rows:
                    return found[:limit], len(found) > limit or more
                after = rows[-1].id
        except StoreFault:
            raise _away() from None

    async def whole(self, job: Job) -> dict[str, Any]:
        """With what it cost, as its receipt says."""
        cost = None
        try:
            receipt = await self._s.receipts.find(job.tenant, job.request) if job.over else None
        except StoreFault:
            receipt = None
        if receipt is not None:
            cost = job_views.cost_of(receipt)
        return job_views.whole(job, cost)

    # Ending and deleting.

    async def cancel(self, id: str, tenant: Tenant) -> Job:
        try:
            return await self._shelf.cancel(id, tenant.name)
        except StoreFault:
            raise _away() from None

    async def delete(self, id: str, tenant: Tenant) -> None:
        """One that runs is cancelled, and its record stays until it ends by itself; else all of it goes."""
        job = await self.read(id, tenant)
        if not job.over:
            job = await self.cancel(id, tenant)
        if job.over:
            await self.clear([job])
            try:
                await self._shelf.forget([job.id])
            except StoreFault:
                raise _away() from None

    async def gone(self, ids: Sequence[str]) -> None:
        """Takes away what these jobs made: their records go next."""
        await self.clear(await self._shelf.find(ids))

    async def clear(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            for one in job.artefacts:
                try:
                    await self._artefacts.delete(one.id)
                except ArtefactFault as fault:
                    raise NoCapacity(fault.message, retry_after=AWAY_RETRY_SECONDS) from None

    # Results.

    async def open(self, one: Artefact, offset: int = 0) -> Reading:
        """Raises StateElsewhere where this replica's store does not have it."""
        try:
            reading = await self._artefacts.open(one.id, offset)
        except ArtefactFault as fault:
            raise NoCapacity(fault.message, retry_after=AWAY_RETRY_SECONDS) from None
        if reading is None:
            raise StateElsewhere(
                "this replica does not have the file: replicas must share GATEWAY_ARTEFACTS, a folder or a bucket"
            )
        return reading

    async def exists(self, one: Artefact) -> None:
        """As `open`."""
        await (await self.open(one)).aclose()


class Accepted:
    """The answer to whoever brought a job, held until it is over or their time is."""

    def __init__(self, desk: JobDesk, call: Call, job: Job, wait: float | None) -> None:
        self._desk, self._call, self._job, self._wait = desk, call, job, wait

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wire: Cycle = scope["extensions"][WIRE]
        waiting = asyncio.ensure_future(self._desk.waited(self._job, self._wait))
        wire.on_left = lambda: _cancel(waiting)
        job = self._job
        try:
            job = await waiting
        except asyncio.CancelledError:
            if wire.disconnected:
                return  # else the process ends: it was taken in, and goes on elsewhere
        finally:
            wire.on_left = None
            waiting.cancel()
        status = 200 if job.endpoint == job_views.VIDEOS else 202
        wire.answer(status, [*JSON, *identity(self._call)], msgspec.json.encode(job_views.shown(job)))


def _cut_off() -> bool:
    """Whether this task was cancelled, and ends in order."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _cancel(waiting: asyncio.Future[Job]) -> None:
    waiting.cancel()


def named(job: Job, name: str) -> Artefact:
    """Raises NotFound."""
    for one in job.artefacts:
        if one.name == name:
            return one
    if not job.over:
        raise NotFound(f"it is {job_views.STATUS[job.state]}: there is nothing of it yet")
    raise NotFound("it has no such result")


def _once(call: Call) -> str | None:
    given = call.headers.get(_ONCE)
    if given is None:
        return None
    if not 0 < len(given) <= _MOST_ONCE:
        raise InvalidRequest(f"Idempotency-Key: give 1 to {_MOST_ONCE} characters", param="Idempotency-Key")
    return given.decode("latin-1")


def allowed_hosts(setting: str) -> tuple[str, ...]:
    return tuple(glob.strip().lower() for glob in setting.split(",") if glob.strip())


def trusted(url: str, allowed: Sequence[str]) -> bool:
    """Whether the operator allows this host, wherever it lies."""
    host = (urlsplit(url).hostname or "").lower()
    return any(fnmatchcase(host, glob) for glob in allowed)


def is_hook(url: str, allowed: Sequence[str]) -> bool:
    """Whether one could post there; where its host leads is found out, and judged, with every message."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= MOST_URL
    if not plain or not parts.hostname or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and trusted(url, allowed))


def _away() -> NoCapacity:
    return NoCapacity("jobs cannot be read while the store is away", retry_after=AWAY_RETRY_SECONDS)


def seconds_of(text: str | None) -> float | None:
    """Of `?wait=`. Raises InvalidRequest."""
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < inf:
        raise InvalidRequest("`wait` must be a number of seconds", param="wait")
    return min(value, MOST_WAIT)
