"""What engines that make videos have in common: OpenAI's paths of images and video jobs, and how a job is shown."""

from __future__ import annotations

import re
from abc import abstractmethod
from typing import Any

from loadtests.simfleet.costs import seconds
from loadtests.simfleet.exchange import Exchange
from loadtests.simfleet.jobs import Job
from loadtests.simfleet.media import Handler, MediaWorker

from .surface import Reply


class VideoWorker(MediaWorker):
    def routes(self) -> list[tuple[str, str, Handler]]:
        return [
            ("GET", "/v1/models", self._models),
            ("POST", "/v1/images/generations", self._images),
            ("POST", "/v1/videos", self._create),
            ("GET", "/v1/videos/([^/]+)", self._get),
            ("GET", "/v1/videos/([^/]+)/content", self._content),
            ("DELETE", "/v1/videos/([^/]+)", self._delete),
        ]

    def listed(self, owner: str, **more: object) -> Reply:
        """The list of models: one."""
        made = {"object": "model", "created": int(self.started), "owned_by": owner, "root": self.model}
        return Reply({"object": "list", "data": [{"id": self.model, **made, **more}]})

    def shown(self, job: Job) -> dict[str, object]:
        """A job, but for what each engine calls in its own way."""
        return {
            "id": job.id,
            "object": "video",
            "model": self.model,
            "status": job.status,
            "progress": job.progress,
            "created_at": int(job.created),
            "seconds": str(seconds(job.asked)),
            "inference_time_s": job.takes_s if job.status == "completed" else None,
        }

    @abstractmethod
    async def _models(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply: ...

    @abstractmethod
    async def _images(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply: ...

    @abstractmethod
    async def _create(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply: ...

    @abstractmethod
    async def _get(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply: ...

    @abstractmethod
    async def _content(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply: ...

    @abstractmethod
    async def _delete(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply: ...
