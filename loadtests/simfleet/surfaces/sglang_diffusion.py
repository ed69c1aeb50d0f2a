"""SGLang's diffusion server: video jobs that a DELETE only forgets, /model_info that says what it makes."""

from __future__ import annotations

import re
from typing import Any

from loadtests.simfleet.exchange import Exchange
from loadtests.simfleet.jobs import Job
from loadtests.simfleet.media import NOT_FOUND, Handler, film, images
from loadtests.simfleet.sheet import Sheet

from .surface import Reply
from .videos import VideoWorker


class SglangDiffusion(VideoWorker):
    def routes(self) -> list[tuple[str, str, Handler]]:
        return [
            *super().routes(),
            ("GET", "/model_info", self._info),
            ("GET", "/server_info", self._info),
            ("GET", "/liveness", self._live),
            ("GET", "/v1/videos", self._list),
        ]

    def health(self) -> Reply:
        if self.warming:
            return Reply({"status": "unhealthy", "error": "Server is warming up"}, 503)
        return Reply({"status": "ok"})

    def metrics(self) -> bytes:
        sheet, done = Sheet("sglang:", {"role": "unified", "replica": "0"}), self.queue.done
        sheet.gauge("diffusion_num_running_reqs", len(self.queue.running))
        sheet.gauge("diffusion_num_queue_reqs", len(self.queue.waiting))
        sheet.counter("diffusion_requests_total", 1, status="success", is_warmup="true")
        sheet.counter("diffusion_requests_total", done["completed"], status="success", is_warmup="false")
        sheet.counter("diffusion_requests_total", done["failed"], status="error", is_warmup="false")
        return sheet.text()

    async def _models(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        return self.listed("sglang")

    async def _info(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        about = {"model_path": self.model, "is_generation": True, "model_type": "diffusion", "task_type": "T2V"}
        kinds = {"supported_task_types": ["T2V", "T2I"], "output_types": ["video", "image"], "is_image_gen": False}
        return Reply({**about, **kinds})

    async def _live(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        return Reply({"status": "ok"})

    async def _images(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        job = self.take(self.new_id("img_"), "image", body)
        if body.get("response_format", "url") == "url":
            raise self._refuse(400, "response_format url needs cloud storage")
        await self.finish(exchange, job, abort=False)  # it goes on without its caller
        return Reply(images(job))

    async def _create(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        if not body.get("prompt"):
            raise self._refuse(422, "Field required: prompt")
        return Reply(self._shown(self.take(self.new_id("video_"), "video", body)))

    async def _list(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        videos = [self._shown(job) for job in self.jobs.values() if job.kind == "video"]
        return Reply({"object": "list", "data": videos})

    async def _get(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        job = self.jobs.get(match[1])
        return NOT_FOUND if job is None else Reply(self._shown(job))

    async def _content(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        job = self.jobs.get(match[1])
        if job is None or job.status != "completed":
            return NOT_FOUND
        return Reply(film(job), content_type=b"video/mp4")

    async def _delete(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        """The record goes, the work does not stop."""
        job = self.jobs.pop(match[1], None)
        return NOT_FOUND if job is None else Reply(self._shown(job) | {"status": "deleted"})

    def _shown(self, job: Job) -> dict[str, object]:
        return self.shown(job) | {
            "size": job.asked.get("size") or "",
            "url": None,
            "file_path": f"outputs/{job.id}.mp4" if job.status == "completed" else None,
            "error": {"message": "Generation failed"} if job.status == "failed" else None,
        }
