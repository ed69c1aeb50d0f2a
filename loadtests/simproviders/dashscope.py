"""Alibaba DashScope: `/api/v1`. Films are tasks, pictures come at once; a task that failed is told with HTTP 200."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from .base import Ask, Job, Made, Provider, Rate, Reply, Route, State, Wrong
from .samples import mp4, png

FILMS = "/api/v1/services/aigc/video-generation/video-synthesis"
PICTURES = "/api/v1/services/aigc/multimodal-generation/generation"
_WORDS: dict[State, str] = {
    "queued": "PENDING",
    "running": "RUNNING",
    "succeeded": "SUCCEEDED",
    "failed": "FAILED",
    "cancelled": "CANCELED",
}
_CODES = {401: "InvalidApiKey", 404: "ModelNotFound", 400: "InvalidParameter", 429: "Throttling.RateQuota"}
_BEIJING = timezone(timedelta(hours=8))
_SIZES = {
    "720P": ("1280*720", "720*1280", "960*960", "1088*832", "832*1088"),
    "1080P": ("1920*1080", "1080*1920", "1440*1440", "1632*1248", "1248*1632"),
}
_RESOLUTION_OF = {size: resolution for resolution, sizes in _SIZES.items() for size in sizes}


class DashScope(Provider):
    name = "dashscope"
    root = "/api/v1"
    rates = (
        Rate("wan2.?-*v*", "second", Decimal("0.10"), "720P"),
        Rate("wan2.?-*v*", "second", Decimal("0.15"), "1080P"),
        Rate("wan2.6-*i*", "image", Decimal("0.03")),
        Rate("qwen-image*", "image", Decimal("0.035")),
    )

    def routes(self) -> list[Route]:
        task = "/api/v1/tasks/(?P<id>[^/]+)"
        return [
            Route("POST", FILMS, self.film, submits=True),
            Route("POST", PICTURES, self.picture, submits=True),
            Route("GET", task, self.look, polls=True),
            Route("POST", f"{task}/cancel", self.cancel),
        ]

    def wrong(self, fault: Wrong) -> object:
        code = fault.code or _CODES.get(fault.status, "InternalError")
        return {"code": code, "message": fault.message, "request_id": "r-0"}

    def film(self, ask: Ask) -> Reply:
        if ask.headers.get("x-dashscope-async") != "enable":
            raise Wrong(403, "AccessDenied", "current user api does not support synchronous calls")
        body = ask.json
        asked, how = body.get("input"), body.get("parameters", {})
        if not isinstance(asked, dict) or set(body) - {"model", "input", "parameters"}:
            raise Wrong(400, "", "want model, input and parameters")
        model = str(body.get("model"))
        _check(model, asked, how)
        resolution = how.get("resolution") or _RESOLUTION_OF.get(how.get("size", ""), "1080P")
        seconds = int(how.get("duration", 5))
        made = [Made("video/mp4", mp4(float(seconds)))]
        job = self.take(model, body, made, "second", seconds, which=resolution)
        return Reply({"output": {"task_id": job.id, "task_status": _WORDS[job.state]}, "request_id": f"r-{job.id}"})

    def picture(self, ask: Ask) -> Reply:
        body = ask.json
        how = body.get("parameters", {})
        messages = body.get("input", {}).get("messages")
        if not isinstance(messages, list) or len(messages) != 1 or messages[0].get("role") != "user":
            raise Wrong(400, "", "want one message of the user")
        content = messages[0]["content"]
        if not any("text" in part for part in content):
            raise Wrong(400, "", "want a text")
        count = int(how.get("n", 1))
        job = self.take(str(body.get("model")), body, [Made("image/png", png())] * count, "image", count, takes_s=0.0)
        if job.fail is not None:
            raise Wrong(400, job.fail_code, job.fail)
        choices = [
            {"finish_reason": "stop", "message": {"role": "assistant", "content": [{"image": url}]}}
            for url in self.urls(job)
        ]
        usage = {"image_count": len(choices), "size": how.get("size", "1280*1280")}
        return Reply({"output": {"choices": choices, "finished": True}, "usage": usage, "request_id": f"r-{job.id}"})

    def look(self, ask: Ask) -> Reply:
        assert ask.match is not None
        if ask.match["id"] not in self.jobs:
            return Reply({"output": {"task_id": ask.match["id"], "task_status": "UNKNOWN"}, "request_id": "r-1"})
        return Reply(self._shown(self.jobs[ask.match["id"]]))

    def cancel(self, ask: Ask) -> Reply:
        assert ask.match is not None
        job = self.job(ask.match["id"])
        if job.state != "queued":
            raise Wrong(400, "UnsupportedOperation", "only a pending task can be cancelled")
        job.cancelled = True
        return Reply({"request_id": f"r-{job.id}"})

    def _shown(self, job: Job) -> dict[str, Any]:
        state = job.state
        began = datetime.fromtimestamp(job.created, UTC).astimezone(_BEIJING)
        output: dict[str, Any] = {
            "task_id": job.id,
            "task_status": _WORDS[state],
            "submit_time": f"{began:%Y-%m-%d %H:%M:%S}.000",
        }
        page: dict[str, Any] = {"request_id": f"r-{job.id}", "output": output}
        if state == "failed":
            output |= {"code": job.fail_code or "InternalError", "message": job.fail}
        elif state == "succeeded":
            if urls := self.urls(job):
                output["video_url"] = urls[0]
            page["usage"] = {
                "duration": job.quantity,
                "output_video_duration": job.quantity,
                "input_video_duration": 0,
                "video_count": len(job.made),
                "SR": int(job.which.rstrip("P")),
            }
        return page


def _check(model: str, asked: dict[str, Any], how: dict[str, Any]) -> None:
    if "-i2v" in model:
        pictures = [part.get("url") for part in asked.get("media", [])] or [asked.get("img_url")]
        if not all(isinstance(each, str) and each.startswith(("data:image/", "http", "oss://")) for each in pictures):
            raise Wrong(400, "", "want a picture")
    elif not asked.get("prompt"):
        raise Wrong(400, "", "want a prompt")
    if "size" in how and how["size"] not in _RESOLUTION_OF:
        raise Wrong(400, "", "unknown size")
    if how.get("resolution") not in (None, "480P", "720P", "1080P"):
        raise Wrong(400, "", "unknown resolution")
    if not isinstance(how.get("duration", 5), int):
        raise Wrong(400, "", "duration: want whole seconds")
