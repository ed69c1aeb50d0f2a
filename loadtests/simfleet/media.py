"""A media worker: jobs of images and videos behind the HTTP surface of its engine (a file of `surfaces`).

A job takes `unit_s` seconds for each of its units (`costs.py`; times the fault `slow`); `job_batch` run at once. What
it makes are small real files (`files.py`) of the size and length that were asked for. Jobs live in the process.
"""

from __future__ import annotations

import base64
import email
import re
import time
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

import msgspec

from .config import WorkerConfig
from .costs import count, pixels, seconds, units
from .dcgm import GpuReading
from .exchange import ClientGone, Exchange, Header
from .faults import Change
from .files import mp4, png
from .jobs import Job, JobQueue
from .journal import Entry
from .metrics import Load
from .refusal import Refusal
from .spoil import spoil
from .station import Station
from .surfaces.surface import TEXT_PLAIN, Reply

NOT_FOUND = Reply({"detail": "Not Found"}, 404)
Handler = Callable[[Exchange, dict[str, Any], "re.Match[str]"], Awaitable[Reply]]
"""Answers a request with its decoded body (form fields, or JSON); `match` is that of its path."""


class MediaWorker(Station):
    """One GPU worker that makes images or videos."""

    metrics_pages: ClassVar[frozenset[str]] = frozenset({"/metrics"})
    health_path: ClassVar[str] = "/health"
    queue_full: ClassVar[tuple[int, str]] = (503, "The request queue is full.")
    others: Mapping[str, Station] = {}

    def __init__(self, config: WorkerConfig, seed: int) -> None:
        super().__init__(config.name, config.model, seed)
        self.config = config
        self.metrics_port = 0
        self.scrapes = 0
        self._routes = [(method, re.compile(path), handler) for method, path, handler in self.routes()]
        self.revive()

    # -- what an engine says of itself -------------------------------------------------------------------------

    @abstractmethod
    def routes(self) -> list[tuple[str, str, Handler]]:
        """Method, whole path as a regular expression, handler."""

    @abstractmethod
    def metrics(self) -> bytes:
        """The engine's metrics page; never asked for where it has none."""

    @abstractmethod
    def health(self) -> Reply: ...

    # -- life --------------------------------------------------------------------------------------------------

    def revive(self) -> None:
        super().revive()
        self.started = time.time()
        self.queue = JobQueue(self.config.job_batch, lambda job: job.units * self.config.unit_s * self.faults.slow)
        self.jobs: dict[str, Job] = {}

    def die(self) -> None:
        super().die()
        self.queue.stop()

    def apply(self, change: Change) -> None:
        if isinstance(change.models, list):
            self.model = change.models[0]
        elif change.clear:
            self.model = self.config.model
        super().apply(change)

    def state(self) -> dict[str, object]:
        jobs = dict(self.queue.done)
        return {
            "running": len(self.queue.running),
            "waiting": len(self.queue.waiting),
            "seats": self.config.job_batch,
            "jobs": jobs,
            "started": self.started,
            "scrapes": self.scrapes,
        }

    def gpus(self) -> list[GpuReading]:
        """What DCGM sees of this worker's GPUs."""
        config, faults = self.config, self.faults
        load = Load(len(self.queue.running), len(self.queue.waiting)) if self.alive else None
        placed = (config.pod, config.namespace, faults.gpu, config.gpu_kind)
        return [
            GpuReading(config.gpu + rank, load, config.job_batch, faults.xid, uuid, *placed)
            for rank, uuid in enumerate(config.gpu_uuids)
        ]

    # -- requests ----------------------------------------------------------------------------------------------

    def _is_probe(self, exchange: Exchange) -> bool:
        return exchange.method == "GET" and exchange.path in (self.health_path, *self.metrics_pages)

    async def _probe(self, exchange: Exchange) -> None:
        if self.faults.hang and not await exchange.wait(self.generation):
            return
        if exchange.path == self.health_path:
            page = self.health()
            await exchange.reply(page.status, page.body, content_type=page.content_type)
            return
        self.scrapes += 1
        page = Reply(self.metrics(), content_type=TEXT_PLAIN)
        headers: list[Header] = []
        if self.faults.metrics is not None:
            if self.faults.metrics.delay_s and await exchange.left_within(self.faults.metrics.delay_s):
                return
            page, headers = spoil(page, self.faults.metrics)
        await exchange.reply(page.status, page.body, headers, page.content_type)

    async def _serve(self, exchange: Exchange, entry: Entry) -> None:
        raw = await exchange.body()
        if not await exchange.wait(self.generation):
            raise ClientGone
        for method, path, handler in self._routes:
            match = path.fullmatch(exchange.path)
            if match is None or method != exchange.method:
                continue
            body = _fields(raw, exchange.header(b"content-type") or "")
            if method == "POST":
                entry.model = body.get("model")
                self._inject(entry)
            page = await handler(exchange, body, match)
            self.journal.close(entry, "finished", page.status)
            await exchange.reply(page.status, page.body, content_type=page.content_type)
            return
        raise self._refuse(404, "Not Found")

    def _refuse(self, status: int, message: str, param: str | None = None) -> Refusal:
        return Refusal(status, message, "InternalServerError" if status >= 500 else "BadRequestError", status)

    def _told(self, refusal: Refusal, path: str) -> object:
        return {"detail": refusal.message}  # FastAPI's own

    # -- jobs --------------------------------------------------------------------------------------------------

    def take(self, id: str, kind: str, asked: dict[str, Any]) -> Job:
        """Queue a job. Raises Refusal when the queue is full or the model is another."""
        if asked.get("model") not in (None, self.model):
            raise self._refuse(400, f"The model `{asked['model']}` does not exist.")
        limit = self.config.max_queued
        if limit is not None and len(self.queue.waiting) >= limit and len(self.queue.running) >= self.queue.at_once:
            raise self._refuse(*self.queue_full)
        fails = self.draws.uniform(self.journal.received, "job") < self.faults.fail_jobs
        job = Job(id, kind, units(kind, asked, self.config.reference_steps), asked, fails)
        self.jobs[id] = job
        self.queue.add(job)
        return job

    def new_id(self, prefix: str) -> str:
        return f"{prefix}{self.name}-{len(self.jobs):08x}"

    async def finish(self, exchange: Exchange, job: Job, *, abort: bool) -> None:
        """Wait for a job's end. `abort`: it ends with its caller's connection. Raises ClientGone and Refusal."""
        if not await exchange.wait(job.over):
            if abort:
                self.queue.cancel(job)
            raise ClientGone
        if job.status != "completed":
            raise self._refuse(500, "Generation failed")


def images(job: Job) -> dict[str, object]:
    """OpenAI's answer to /v1/images/generations."""
    data = base64.b64encode(png(*pixels(job.asked))).decode()
    return {"created": int(job.created), "data": [{"b64_json": data} for _ in range(count(job.asked))]}


def film(job: Job) -> bytes:
    """What a video job made."""
    return mp4(seconds(job.asked), *pixels(job.asked))


def _fields(raw: bytes, content_type: str) -> dict[str, Any]:
    """A form's fields as strings, or a JSON object; empty where there is neither."""
    if not content_type.startswith("multipart/"):
        try:
            return msgspec.json.decode(raw, type=dict[str, Any]) if raw else {}
        except msgspec.MsgspecError:
            return {}
    form = email.message_from_bytes(b"content-type: %b\r\n\r\n" % content_type.encode() + raw)
    fields = {}
    for part in form.walk():
        name = part.get_param("name", header="content-disposition")
        value = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(value, bytes):
            fields[name] = value.decode("latin-1")
    return fields
