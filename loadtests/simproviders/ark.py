"""Volcengine Ark: `/api/v3`. Seedream's pictures come at once, Seedance's films are tasks; both are charged as told in
`usage`."""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import Any

from .base import Ask, Job, Made, Provider, Rate, Reply, Route, State, Wrong
from .samples import mp4, png

TASKS = "/api/v3/contents/generations/tasks"
PICTURES = "/api/v3/images/generations"
_WORDS: dict[State, str] = {
    "queued": "queued",
    "running": "running",
    "succeeded": "succeeded",
    "failed": "failed",
    "cancelled": "cancelled",
}
_CODES = {
    400: "InvalidParameter",
    401: "AuthenticationError",
    404: "InvalidEndpointOrModel.NotFound",
    429: "ModelAccountRpmRateLimitExceeded",
}
_SIZES = {"480p": (864, 480), "720p": (1280, 720), "1080p": (1920, 1080)}
_FPS = 24
_LEAST = 3_686_400


class Ark(Provider):
    name = "ark"
    root = "/api/v3"
    rates = (
        Rate("*seedream-5*", "image", Decimal("0.035")),
        Rate("*seedream*", "image", Decimal("0.04")),
        Rate("*seedance-1-0-pro*", "token", Decimal("2.5") / 1_000_000),
        Rate("*seedance*", "token", Decimal("7") / 1_000_000),
    )

    def reset(self) -> None:
        super().reset()
        self.hidden: set[str] = set()
        """Ended tasks whose records were removed; they stay on the bill."""

    def routes(self) -> list[Route]:
        return [
            Route("POST", PICTURES, self.picture, submits=True),
            Route("POST", TASKS, self.film, submits=True),
            Route("GET", f"{TASKS}/(?P<id>[^/]+)", self.look, polls=True),
            Route("DELETE", f"{TASKS}/(?P<id>[^/]+)", self.cancel),
        ]

    def wrong(self, fault: Wrong) -> object:
        code = fault.code or _CODES.get(fault.status, "InternalServiceError")
        return {"error": {"code": code, "message": fault.message, "param": "", "type": "Error"}}

    def picture(self, ask: Ask) -> Reply:
        body = ask.json
        if not body.get("prompt") or "n" in body:
            raise Wrong(400, "", "want a prompt, and no n")
        width, _, height = str(body.get("size", "2K")).partition("x")
        if height and int(width) * int(height) < _LEAST:
            raise Wrong(400, "", f"size: at least {_LEAST} pixels")
        group = body.get("sequential_image_generation") == "auto"
        count = body.get("sequential_image_generation_options", {}).get("max_images", 15) if group else 1
        job = self.take(str(body["model"]), body, [Made("image/jpeg", png())] * count, "image", count, takes_s=0.0)
        page: dict[str, Any] = {"model": job.model, "created": int(job.created)}
        if job.fail is not None:
            return Reply({**page, "data": [{"error": {"code": job.fail_code, "message": job.fail}}], "usage": _none()})
        inline = body.get("response_format") == "b64_json"
        made = zip(job.made, self.urls(job), strict=True)
        rows = [{"size": "2048x2048", **_row(each, url, inline)} for each, url in made]
        tokens = len(rows) * 2048 * 2048 // 256
        usage = {"generated_images": len(rows), "output_tokens": tokens, "total_tokens": tokens}
        return Reply({**page, "data": rows, "usage": usage})

    def film(self, ask: Ask) -> Reply:
        body = ask.json
        content = body.get("content")
        if not isinstance(content, list) or not content:
            raise Wrong(400, "", "want content")
        for part in content:
            if part.get("type") not in ("text", "image_url") or not part.get(part["type"]):
                raise Wrong(400, "", "want parts of text and pictures")
        seconds, resolution = int(body.get("duration", 5)), body.get("resolution", "720p")
        width, height = _SIZES[resolution]
        tokens = width * height * _FPS * seconds // 1024
        made = [Made("video/mp4", mp4(float(seconds)))]
        job = self.take(str(body["model"]), body, made, "token", tokens, which=resolution)
        return Reply({"id": job.id})

    def look(self, ask: Ask) -> Reply:
        assert ask.match is not None
        return Reply(self._shown(self.job(ask.match["id"])))

    def cancel(self, ask: Ask) -> Reply:
        assert ask.match is not None
        job = self.job(ask.match["id"])
        if job.state == "running":
            raise Wrong(409, "InvalidAction.RunningTaskDeletion", "a running task cannot be deleted")
        if job.state == "queued":
            job.cancelled = True
        else:
            self.hidden.add(job.id)
        return Reply({})

    def job(self, id: str) -> Job:
        if id in self.hidden:
            raise Wrong(404, "ResourceNotFound", "no such task")
        return super().job(id)

    def _shown(self, job: Job) -> dict[str, Any]:
        state, body = job.state, job.asked
        page: dict[str, Any] = {
            "id": job.id,
            "model": job.model,
            "status": _WORDS[state],
            "created_at": int(job.created),
            "updated_at": int(job.created) + 1,
        }
        if state == "failed":
            page["error"] = {"code": job.fail_code or "InternalServiceError", "message": job.fail}
        elif state == "succeeded":
            page["content"] = {"video_url": next(iter(self.urls(job)), "")}
            page["usage"] = {"completion_tokens": int(job.quantity), "total_tokens": int(job.quantity)}
            page |= {"duration": body.get("duration", 5), "resolution": job.which, "framespersecond": _FPS}
            page |= {"ratio": body.get("ratio", "16:9"), "seed": body.get("seed", 1)}
        return page


def _row(made: Made, url: str, inline: bool) -> dict[str, str]:
    return {"b64_json": base64.b64encode(made.data).decode()} if inline else {"url": url}


def _none() -> dict[str, int]:
    return {"generated_images": 0, "output_tokens": 0, "total_tokens": 0}
