"""The paths of jobs: OpenAI's videos, and our own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.types import Receive, Scope, Send

from gateway.edge import downloads, job_views
from gateway.edge.cycle import WIRE, Cycle
from gateway.edge.downloads import Download, File, Span, Unsatisfiable, span_of
from gateway.edge.job_desk import MOST_PAGE, PAGE, JobDesk, named, seconds_of
from gateway.edge.routes import caller
from gateway.edge.services import Services
from gateway.errors import GatewayError, InvalidRequest, NotFound
from gateway.jobs.record import Job
from gateway.model import Artefact, Tenant

HEARTBEAT_SECONDS = 15.0
VARIANTS = ("video", "thumbnail", "spritesheet")


def job_routes(services: Services, desk: JobDesk) -> APIRouter:
    api = APIRouter()

    def tenant_of(request: Request) -> Tenant:
        return caller(services, request.state.call)

    async def film(request: Request, id: str) -> Job:
        job = await desk.read(id, tenant_of(request))
        if job.endpoint != job_views.VIDEOS:
            raise NotFound("no such job")
        return job

    @api.get("/v1/videos", tags=["openai"])
    async def videos(request: Request) -> dict[str, Any]:
        """The caller's videos, the newest first."""
        return await listed(request, desk, tenant_of(request), videos=True)

    @api.get("/v1/videos/{id}", tags=["openai"])
    async def video(id: str, request: Request) -> dict[str, Any]:
        """One of them; `?wait=SECONDS` holds the answer until it is over."""
        job = await film(request, id)
        return job_views.video(await desk.waited(job, seconds_of(request.query_params.get("wait"))))

    @api.delete("/v1/videos/{id}", tags=["openai"])
    async def delete_video(id: str, request: Request) -> dict[str, Any]:
        """Cancels one that runs; else its record and its files go."""
        job = await film(request, id)
        await desk.delete(job.id, tenant_of(request))
        return {"id": job.id, "object": "video.deleted", "deleted": True}

    @api.head("/v1/videos/{id}/content", tags=["openai"])
    @api.get("/v1/videos/{id}/content", tags=["openai"])
    async def content(id: str, request: Request) -> Response:
        """The file, or a range of it; `?variant=thumbnail` a still of it, where there is one."""
        variant = request.query_params.get("variant", VARIANTS[0])
        if variant not in VARIANTS:
            raise InvalidRequest(f"`variant` must be one of: {', '.join(VARIANTS)}", param="variant")
        job = await film(request, id)
        return await download(request, desk, job, named(job, variant))

    @api.get("/v1/gateway/jobs", tags=["gateway"])
    async def jobs(request: Request) -> dict[str, Any]:
        return await listed(request, desk, tenant_of(request), videos=False)

    @api.get("/v1/gateway/jobs/{id}", tags=["gateway"])
    async def job(id: str, request: Request) -> dict[str, Any]:
        """All that is known of a job: its tries, what it made, what it cost."""
        found = await desk.read(id, tenant_of(request))
        return await desk.whole(await desk.waited(found, seconds_of(request.query_params.get("wait"))))

    @api.delete("/v1/gateway/jobs/{id}", tags=["gateway"])
    async def delete_job(id: str, request: Request) -> dict[str, Any]:
        await desk.delete(id, tenant_of(request))
        return {"id": id, "object": "job.deleted", "deleted": True}

    @api.post("/v1/gateway/jobs/{id}/cancel", tags=["gateway"])
    async def cancel(id: str, request: Request) -> dict[str, Any]:
        """It ends as soon as whoever works on it hears of it; what is over stays as it is."""
        return job_views.whole(await desk.cancel(id, tenant_of(request)))

    @api.get("/v1/gateway/jobs/{id}/events", tags=["gateway"])
    async def events(id: str, request: Request) -> Response:
        """Server-sent events of its way, until it is over; goes on after `Last-Event-ID`."""
        found = await desk.read(id, tenant_of(request))
        return Events(desk, found, last_event(request))

    @api.head("/v1/gateway/jobs/{id}/artefacts/{name}", tags=["gateway"])
    @api.get("/v1/gateway/jobs/{id}/artefacts/{name}", tags=["gateway"])
    async def artefact(id: str, name: str, request: Request) -> Response:
        found = await desk.read(id, tenant_of(request))
        return await download(request, desk, found, named(found, name))

    return api


async def listed(request: Request, desk: JobDesk, tenant: Tenant, *, videos: bool) -> dict[str, Any]:
    """A page in OpenAI's shape."""
    given = request.query_params
    order = given.get("order", "desc")
    if order not in ("asc", "desc"):
        raise InvalidRequest("`order` must be asc or desc", param="order")
    said = given.get("limit", str(PAGE))
    limit = int(said) if said.isdecimal() and len(said) < 9 else -1
    if not 0 <= limit <= MOST_PAGE:
        raise InvalidRequest(f"`limit` must be 0 to {MOST_PAGE}", param="limit")
    rows, more = await desk.page(tenant, given.get("after"), limit, oldest_first=order == "asc", videos=videos)
    return job_views.page([job_views.video(one) if videos else job_views.whole(one) for one in rows], more)


async def download(request: Request, desk: JobDesk, job: Job, one: Artefact) -> Response:
    file = File(media_type=one.media_type, size=one.size, etag=f'"{one.digest}"', name=job_views.file_name(job, one))
    headers = request.headers
    if downloads.matches(headers.get("if-none-match"), file.etag):
        return downloads.unchanged(file)
    span = None
    if "if-range" not in headers or downloads.matches(headers["if-range"], file.etag):
        try:
            span = span_of(headers.get("range"), file.size)
        except Unsatisfiable:
            return downloads.no_such_range(file)
    if request.method == "HEAD":
        await desk.exists(one)
        return downloads.head(file)
    return Download(file, span, await desk.open(one, (span or Span(0, 0)).start))


def last_event(request: Request) -> int | None:
    """What the reader heard last; None for what is no number of ours: it then hears all of it."""
    said = request.headers.get("last-event-id", "")
    return int(said) if said.isdecimal() and len(said) < 9 else None


class Events(Response):
    """Ends with its job, or with its reader."""

    media_type = "text/event-stream"

    def __init__(self, desk: JobDesk, job: Job, last: int | None) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._desk, self._job, self._last = desk, job, last

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wire: Cycle = scope["extensions"][WIRE]
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for piece in self._pieces():
            await wire.flow.drain()
            if wire.disconnected:
                return
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pieces(self) -> AsyncIterator[bytes]:
        job, last = self._job, self._last
        try:
            async for seen in self._desk.watch.follow(job.id, job.tenant, silence=HEARTBEAT_SECONDS):
                if seen is None:
                    yield b": still there\n\n"
                elif last is None or job_views.event_number(seen) > last:
                    yield job_views.event(seen, last)
                    last = job_views.event_number(seen)
        except GatewayError:
            return  # it was deleted meanwhile
