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

_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"GIF8")
"""How a file begins that is one."""


class VideoWorker(MediaWorker):
    def routes(self) -> list[tuple[str, str, Handler]]:
        return [
            ("GET", "/v1/models", self._models),
            ("POST", "/v1/images/generations", self._images),
            ("POST", "/v1/images/edits", self._edits),
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

    async def _edits(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        """A form with a picture of ours or theirs; that it is one is looked at, what is in it is not."""
        given = str(body.get("image") or body.get("image[]") or "").encode("latin-1", "replace")
        if not (exchange.header(b"content-type") or "").startswith("multipart/") or not given.startswith(_PICTURES):
            raise self._refuse(422, "Field required: image")
        return await self._images(exchange, body, match)

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
