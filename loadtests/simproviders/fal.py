"""fal's queue, as `fal_client` speaks it: owner/alias[/path], status, result, cancel."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from .base import Ask, Job, Made, Provider, Rate, Reply, Route, Wrong
from .samples import mp3, mp4, png

_MOST_IMAGES = 4
_PRESETS = {"square_hd": (1024, 1024), "square": (512, 512), "landscape_4_3": (1024, 768), "portrait_16_9": (576, 1024)}
_USUAL = "landscape_4_3"


class Fal(Provider):
    name = "fal"
    rates = (
        Rate("fal-ai/flux/schnell", "image", Decimal("0.003")),
        Rate("fal-ai/flux/dev", "image", Decimal("0.025")),
        Rate("fal-ai/kling-video/*", "second", Decimal("0.09")),
        Rate("fal-ai/veo3*", "second", Decimal("0.15")),
        Rate("*/tts*", "character", Decimal("0.0001")),
    )

    def routes(self) -> list[Route]:
        request = r"/(?P<app>[\w.-]+/[\w.-]+)/requests/(?P<id>[\w-]+)"
        return [
            Route("GET", request + "/status", self.status, polls=True),
            Route("GET", request, self.result, polls=True),
            Route("PUT", request + "/cancel", self.cancel),
            Route("POST", r"/(?P<model>[\w.-]+/[\w./-]+)", self.submit, submits=True),
        ]

    def authorized(self, ask: Ask) -> bool:
        return ask.headers.get("authorization") == f"Key {self.key}"

    def submit(self, ask: Ask) -> Reply:
        assert ask.match is not None
        model, asked = ask.match["model"], ask.json
        if "to-video" in model or "veo" in model:
            job = self._film(model, asked)
        elif "tts" in model:
            text = _text(asked, "text")
            job = self.take(model, asked, [Made("audio/mpeg", mp3())], "character", len(text))
        else:
            job = self._pictures(model, asked)
        base = self._base(job)
        return Reply(
            {
                "request_id": job.id,
                "response_url": base,
                "status_url": f"{base}/status",
                "cancel_url": f"{base}/cancel",
                "queue_position": 0,
                "status": "IN_QUEUE",
            }
        )

    def status(self, ask: Ask) -> Reply:
        job = self._asked_for(ask)
        body: dict[str, Any] = {"request_id": job.id, "response_url": self._base(job), "logs": None}
        match job.state:
            case "queued":
                body |= {"status": "IN_QUEUE", "queue_position": 0}
            case "running":
                body |= {"status": "IN_PROGRESS"}
            case _:
                body |= {"status": "COMPLETED", "metrics": {"inference_time": job.takes_s}}
                if job.state == "cancelled":
                    body |= {"error": "Request was cancelled", "error_type": "client_cancelled"}
                elif job.state == "failed" and job.fail_code:
                    body |= {"error": job.fail, "error_type": job.fail_code}
        return Reply(body)

    def result(self, ask: Ask) -> Reply:
        """What a model refuses to do shows here alone: a list of what is wrong, and no `error_type`."""
        job = self._asked_for(ask)
        if job.state in ("queued", "running"):
            raise Wrong(400, "", "Request is still in progress")
        if job.state != "succeeded":
            detail = [{"loc": ["body", "prompt"], "msg": job.fail, "type": job.fail or "cancelled"}]
            return Reply({"detail": detail}, 422)
        files = [
            {"url": url, "content_type": made.media_type, "width": made.width, "height": made.height}
            for url, made in zip(self.urls(job), job.made, strict=True)
        ]
        if job.unit == "image":
            return Reply({"images": files, "seed": 7, "has_nsfw_concepts": [not files], "prompt": "as asked"})
        return Reply({"video" if job.unit == "second" else "audio": files[0] if files else None})

    def cancel(self, ask: Ask) -> Reply:
        job = self._asked_for(ask)
        if job.state not in ("queued", "running"):
            return Reply({"status": "ALREADY_COMPLETED"}, 400)
        job.cancelled = True
        return Reply({"status": "CANCELLATION_REQUESTED"}, 202)

    def wrong(self, fault: Wrong) -> object:
        told = {"detail": fault.message}
        return told | {"error_type": fault.code} if fault.code else told

    def _pictures(self, model: str, asked: dict[str, Any]) -> Job:
        _text(asked, "prompt")
        count = asked.get("num_images", 1)
        if type(count) is not int or not 1 <= count <= _MOST_IMAGES:
            raise Wrong(422, "", "num_images")
        size = asked.get("image_size", _USUAL)
        width, height = _PRESETS[size] if isinstance(size, str) else (size["width"], size["height"])
        made = [Made("image/png", png(width // 64, height // 64, 40 * i), width, height) for i in range(count)]
        return self.take(model, asked, made, "image", count, which=f"{width}x{height}")

    def _film(self, model: str, asked: dict[str, Any]) -> Job:
        _text(asked, "prompt")
        said = asked.get("duration", "8s" if "veo" in model else "5")
        if not isinstance(said, str) or not said.rstrip("s").isdigit() or said.endswith("s") != ("veo" in model):
            raise Wrong(422, "", "duration")
        seconds = int(said.rstrip("s"))
        return self.take(model, asked, [Made("video/mp4", mp4(seconds))], "second", seconds)

    def _base(self, job: Job) -> str:
        owner, alias = job.model.split("/")[:2]
        return f"{self.public}/{owner}/{alias}/requests/{job.id}"

    def _asked_for(self, ask: Ask) -> Job:
        assert ask.match is not None
        job = self.job(ask.match["id"])
        if not f"{job.model}/".startswith(f"{ask.match['app']}/"):
            raise Wrong(404, "", "Request not found")
        return job


def _text(asked: dict[str, Any], name: str) -> str:
    said = asked.get(name)
    if not isinstance(said, str) or not said:
        raise Wrong(422, "", f"{name}: field required")
    return said
