"""One gateway process of the proof: the shelf and a runner of `gateway/jobs`, the client's API of films in front, and
behind it a work that orders at the proof's provider: `python -m loadtests.jobsproof.harness PORT STORE PROVIDER FOLDER
SECONDS`, the last of which is how long a job may take.

The work does what a dialect and its driver do: an intent, one submit, its ticket, looks, the film copied at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
import uvicorn

from gateway.errors import GatewayError, Reset
from gateway.fleet.leases import new_owner
from gateway.jobs.record import Job, Try
from gateway.jobs.room import Room
from gateway.jobs.work import Anew, Log, Outcome
from gateway.model import Artefact
from gateway.settings import Settings
from gateway.telemetry import Telemetry

TENANT, MODEL = "proof", "film"
SECRET = b"a secret of the proof"
LOOK_SECONDS, BUSY_SECONDS = 0.3, 0.2
KEPT_SECONDS = 3600.0
SHOWN = {"succeeded": "completed", "queued": "queued", "running": "in_progress"}
Scope = MutableMapping[str, Any]


class Ordering:
    """`work.Work` at the proof's provider."""

    def __init__(self, provider: str, folder: Path) -> None:
        self._http = httpx.AsyncClient(base_url=provider, timeout=10.0, limits=httpx.Limits(max_connections=None))
        self._folder = folder

    async def run(self, job: Job, log: Log) -> Outcome:
        if log.stopped is not None:
            return Outcome("expired" if log.stopped == "expired" else "cancelled")
        ticket = job.open.ticket if job.open is not None else None
        if ticket is None:
            ticket = await self._submitted(job, log)
        if ticket is None:
            return Outcome.unknown()
        while (state := await self._get(f"/orders/{ticket}")) is None or state["state"] == "queued":  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)
        if state["state"] == "failed":
            return Outcome.failed("upstream_error", "the provider says that it failed")
        return await self._kept(job, ticket)

    async def find(self, job: Job, one: Try) -> str | Anew:
        """Every other film is of an API that cannot list."""
        if int(job.id[-1], 16) % 2:
            return Anew.UNKNOWN
        try:
            answer = await self._http.get("/orders", params={"mark": job.id})
        except httpx.HTTPError as fault:
            raise Reset(type(fault).__name__) from None
        return answer.json()["id"] if answer.status_code == 200 else Anew.NOT_THERE

    async def _submitted(self, job: Job, log: Log) -> str | None:
        while True:
            one = Try(attempt=token_hex(16), upstream="provider", backend="api", managed=True, at=time.time())
            await log.intent(one)
            try:
                answer = await self._http.post("/orders", json={"mark": job.id})
            except httpx.HTTPError:
                found = await self.find(job, one)
                if not isinstance(found, str):
                    return None
                await log.ticket(found)
                return found
            if answer.status_code == 200:
                ticket: str = answer.json()["id"]
                await log.ticket(ticket)
                return ticket
            await log.tried("busy")
            await asyncio.sleep(BUSY_SECONDS)

    async def _kept(self, job: Job, ticket: str) -> Outcome:
        while True:
            try:
                film = (await self._http.get(f"/files/{ticket}")).content
                break
            except httpx.HTTPError:
                await asyncio.sleep(LOOK_SECONDS)
        draft = self._folder / f".{job.id}.{token_hex(4)}"
        draft.write_bytes(film)
        os.replace(draft, self._folder / job.id)
        return Outcome("succeeded", (Artefact(job.id, "video/mp4", len(film), hashlib.sha256(film).hexdigest()),))

    async def _get(self, path: str) -> dict[str, str] | None:
        try:
            found: dict[str, str] = (await self._http.get(path)).json()
        except httpx.HTTPError:
            return None
        return found


class Api:
    """POST /v1/videos, GET /v1/videos/{id} and /v1/videos/{id}/content: what of OpenAI's shapes the proof looks at."""

    def __init__(self, room: Room, folder: Path) -> None:
        self._room, self._folder = room, folder

    async def __call__(self, scope: Scope, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Any]) -> None:
        body = b""
        while (message := await receive()).get("more_body"):
            body += message["body"]
        body += message.get("body", b"")
        try:
            status, answer = await self._answer(scope, body)
        except GatewayError as error:
            status, answer = error.status, json.dumps({"error": {"code": error.code}}).encode()
        except Exception as fault:
            status, answer = 503, json.dumps({"error": {"code": type(fault).__name__}}).encode()
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": answer})

    async def _answer(self, scope: Scope, body: bytes) -> tuple[int, bytes]:
        if scope["method"] == "POST":
            once = dict(scope["headers"])[b"idempotency-key"].decode()
            return 200, shown(await self._room.shelf.accept(self._job(), body, once=once))
        id, _, content = scope["path"].removeprefix("/v1/videos/").partition("/")
        job = await self._room.shelf.read(id, TENANT)
        return 200, (self._folder / id).read_bytes() if content else shown(job)

    def _job(self) -> Job:
        now = time.time()
        return Job(
            id=self._room.shelf.new_id("video_", TENANT),
            request="r",
            tenant=TENANT,
            key="k",
            model=MODEL,
            endpoint="videos",
            policy="p",
            created=now,
            expires=now + KEPT_SECONDS,
        )


def shown(job: Job) -> bytes:
    code = job.error[0] if job.error is not None else job.state
    fields = {"id": job.id, "object": "video", "status": SHOWN.get(job.state, "failed"), "ended": job.ended}
    return json.dumps({**fields, "error": None if fields["status"] != "failed" else {"code": code}}).encode()


async def serve(port: int, store: str, provider: str, folder: Path, longest: float) -> None:
    settings = Settings(jobs_longest_seconds=longest, jobs_durability="required", jobs_running=512)
    room = Room.of(settings, store, new_owner(), SECRET)
    await room.check()
    runner = room.runner(Ordering(provider, folder), Telemetry())
    tasks = [asyncio.create_task(each) for each in (runner.run(), room.news(runner).run())]
    app: Any = Api(room, folder)
    await uvicorn.Server(uvicorn.Config(app, port=port, lifespan="off", log_level="error", ws="none")).serve()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await room.aclose()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]), float(sys.argv[5])))
