"""trtllm-serve in its visual mode: a job is taken with 202, its error is a text, its content is refused until then."""

from __future__ import annotations

import re
from typing import Any

from loadtests.simfleet.exchange import Exchange
from loadtests.simfleet.jobs import Job
from loadtests.simfleet.media import NOT_FOUND, film, images
from loadtests.simfleet.refusal import Refusal

from .surface import Reply
from .videos import VideoWorker


class TrtLlmVideo(VideoWorker):
    """Its /metrics is that of the language server, with nothing of these jobs in it: an empty list."""

    def health(self) -> Reply:
        return Reply(status=503) if self.warming else Reply()

    def metrics(self) -> bytes:
        return b"[]"

    def _told(self, refusal: Refusal, path: str) -> object:
        return {"object": "error", **refusal.fields}

    async def _models(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        return self.listed("tensorrt_llm")

    async def _images(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        job = self.take(self.new_id("image_"), "image", body)
        await self.finish(exchange, job, abort=True)
        return Reply(images(job))

    async def _create(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        if not body.get("prompt"):
            raise self._refuse(400, "prompt is required", "prompt")
        return Reply(self._shown(self.take(self.new_id("video_"), "video", body)), 202)

    async def _get(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        job = self.jobs.get(match[1])
        return NOT_FOUND if job is None else Reply(self._shown(job))

    async def _content(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        job = self.jobs.get(match[1])
        if job is None:
            return NOT_FOUND
        if job.status != "completed":
            raise self._refuse(400, "the video is not completed")
        return Reply(film(job), content_type=b"video/mp4")

    async def _delete(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        job = self.jobs.pop(match[1], None)
        if job is None:
            return NOT_FOUND
        self.queue.cancel(job)
        return Reply({"deleted": True})

    def _shown(self, job: Job) -> dict[str, object]:
        made = self.shown(job)
        del made["progress"], made["seconds"]
        return made | {
            "duration": job.asked.get("seconds"),
            "size": job.asked.get("size"),
            "error": "Generation failed" if job.status == "failed" else None,
            "output_path": f"/tmp/{job.id}.mp4" if job.status == "completed" else None,
        }
