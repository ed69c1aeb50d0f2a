"""vLLM-Omni: OpenAI's image call, video jobs by multipart, metrics with their own prefix."""

from __future__ import annotations

import re
from typing import Any

from loadtests.simfleet.costs import SPOKEN_PER_S
from loadtests.simfleet.exchange import Exchange
from loadtests.simfleet.files import wav
from loadtests.simfleet.jobs import Job
from loadtests.simfleet.media import NOT_FOUND, Handler, film, images
from loadtests.simfleet.refusal import Refusal
from loadtests.simfleet.sheet import Sheet

from .surface import Reply
from .videos import VideoWorker

FAILED_STATUS = 500
"""GET of a failed job answers with the error's own status, and the job as its body."""


class VllmOmni(VideoWorker):
    def routes(self) -> list[tuple[str, str, Handler]]:
        return [
            *super().routes(),
            ("POST", "/v1/audio/speech", self._speech),
            ("GET", "/version", self._version),
        ]

    def health(self) -> Reply:
        return Reply({"status": "unhealthy"}, 503) if self.warming else Reply({"status": "healthy"})

    def metrics(self) -> bytes:
        sheet, done = Sheet("vllm_omni:", {"model_name": self.model}), self.queue.done
        sheet.gauge("num_requests_running", len(self.queue.running))
        sheet.gauge("num_requests_waiting", len(self.queue.waiting))
        sheet.gauge("stage_waiting_requests", len(self.queue.waiting), stage="diffusion", replica="0")
        sheet.counter("requests_success_total", done["completed"], finished_reason="stop")
        sheet.counter("requests_failed_total", done["failed"], reason="error")
        return sheet.text()

    def _told(self, refusal: Refusal, path: str) -> object:
        return refusal.wrapped()

    async def _models(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        return self.listed("vllm", parent=None)

    async def _version(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        return Reply({"version": "0.30.0"})

    async def _images(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        job = self.take(self.new_id("img_"), "image", body)
        await self.finish(exchange, job, abort=True)
        return Reply(images(job))

    async def _speech(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        if not body.get("input"):
            raise self._refuse(400, "Input text cannot be empty", "input")
        job = self.take(self.new_id("speech_"), "speech", body)
        await self.finish(exchange, job, abort=True)
        return Reply(wav(len(str(body["input"])) / SPOKEN_PER_S), content_type=b"audio/wav")

    async def _create(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        if not (exchange.header(b"content-type") or "").startswith("multipart/"):
            raise self._refuse(422, "A multipart form is expected.")
        if not body.get("prompt"):
            raise self._refuse(422, "Field required: prompt")
        return Reply(self._shown(self.take(self.new_id("video_gen_"), "video", body)))

    async def _get(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        job = self.jobs.get(match[1])
        if job is None:
            return NOT_FOUND
        return Reply(self._shown(job), FAILED_STATUS if job.status == "failed" else 200)

    async def _content(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        job = self.jobs.get(match[1])
        if job is None or job.status in ("queued", "in_progress"):
            return NOT_FOUND
        if job.status == "failed":
            raise self._refuse(422, "Generation failed")
        return Reply(film(job), content_type=b"video/mp4")

    async def _delete(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        job = self.jobs.pop(match[1], None)
        if job is None:
            return NOT_FOUND
        self.queue.cancel(job)
        return Reply({"id": job.id, "object": "video.deleted", "deleted": True})

    def _shown(self, job: Job) -> dict[str, object]:
        return self.shown(job) | {
            "size": job.asked.get("size"),
            "file_name": f"{job.id}.mp4" if job.status == "completed" else None,
            "error": {"code": FAILED_STATUS, "message": "Generation failed"} if job.status == "failed" else None,
        }
