"""Replicate's predictions, as the package `replicate` speaks them: official models, versions and deployments."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from .base import Ask, Job, Made, Provider, Rate, Reply, Route, Wrong
from .samples import mp4, png, wav

_STATES = {"queued": "starting", "running": "processing", "cancelled": "canceled"}
_RATIOS = frozenset({"1:1", "16:9", "9:16", "3:2", "2:3", "4:3", "3:4", "4:5", "5:4", "21:9", "9:21", "custom"})
VERSION = "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa"
RAN_S = 2.5
"""What every model takes, as it is billed."""


class Replicate(Provider):
    name = "replicate"
    rates = (
        Rate("black-forest-labs/flux-schnell", "image", Decimal("0.003")),
        Rate("black-forest-labs/flux-1.1-pro", "image", Decimal("0.04")),
        Rate("kwaivgi/*", "second", Decimal("0.05")),
        Rate("minimax/speech-*", "character", Decimal("0.00006")),
        Rate(VERSION, "second", Decimal("0.000725")),
    )

    def routes(self) -> list[Route]:
        owner = r"(?P<model>[\w-]+/[\w.-]+)/predictions"
        return [
            Route("POST", f"/v1/models/{owner}", self.submit, submits=True),
            Route("POST", f"/v1/deployments/{owner}", self.submit, submits=True),
            Route("POST", "/v1/predictions", self.submit_version, submits=True),
            Route("GET", r"/v1/predictions/(?P<id>[\w-]+)", self.look, polls=True),
            Route("POST", r"/v1/predictions/(?P<id>[\w-]+)/cancel", self.cancel),
        ]

    def submit(self, ask: Ask) -> Reply:
        assert ask.match is not None
        asked = _input(ask.json)
        job = self._job(ask.match["model"], asked)
        return Reply(self._shown(job), 201)

    def submit_version(self, ask: Ask) -> Reply:
        """A community model: the seconds that it ran are billed."""
        body = ask.json
        if body.get("version") != VERSION:
            raise Wrong(422, "", "Invalid version or not permitted")
        job = self._job(VERSION, _input(body))
        job.unit, job.quantity = "second", RAN_S
        return Reply(self._shown(job), 201)

    def look(self, ask: Ask) -> Reply:
        assert ask.match is not None
        return Reply(self._shown(self.job(ask.match["id"])))

    def cancel(self, ask: Ask) -> Reply:
        assert ask.match is not None
        job = self.job(ask.match["id"])
        job.cancelled = job.cancelled or job.state in ("queued", "running")
        return Reply(self._shown(job))

    def wrong(self, fault: Wrong) -> object:
        return {"title": fault.code or "Error", "detail": fault.message, "status": fault.status}

    def _job(self, model: str, asked: dict[str, Any]) -> Job:
        if model.startswith("kwaivgi/"):
            if type(asked.get("duration", 5)) is not int:
                raise Wrong(422, "", "- input.duration: Invalid type. Expected: integer")
            seconds = asked.get("duration", 5)
            return self.take(model, asked, [Made("video/mp4", mp4(seconds))], "second", seconds)
        if model.startswith("minimax/speech"):
            return self.take(model, asked, [Made("audio/wav", wav())], "character", len(str(asked.get("text"))))
        if asked.get("aspect_ratio", "1:1") not in _RATIOS:
            raise Wrong(422, "", "- input.aspect_ratio: not one of the enumeration")
        count = asked.get("num_outputs", 1)
        made = [Made("image/png", png(16, 16, 30 * i), 1024, 1024) for i in range(count)]
        return self.take(model, asked, made, "image", count)

    def _shown(self, job: Job) -> dict[str, Any]:
        state, base = job.state, f"{self.public}/v1/predictions/{job.id}"
        done = state not in ("queued", "running")
        urls = self.urls(job) if state == "succeeded" else None
        return {
            "id": job.id,
            "model": job.model if "/" in job.model else "",
            "version": VERSION,
            "status": _STATES.get(state, state),
            "input": job.asked,
            "output": urls if job.unit == "image" or not urls else urls[0],
            "logs": " 45%|####      | 9/20 [00:01]\n" if state == "running" else "",
            "error": job.fail if state == "failed" else None,
            "metrics": {"predict_time": RAN_S} if done else {},
            "created_at": "2026-11-22T10:00:00Z",
            "started_at": None if state == "queued" else "2026-11-22T10:00:01Z",
            "completed_at": "2026-11-22T10:00:03Z" if done else None,
            "urls": {"get": base, "cancel": f"{base}/cancel"},
        }


def _input(body: dict[str, Any]) -> dict[str, Any]:
    asked = body.get("input")
    if not isinstance(asked, dict) or not (asked.get("prompt") or asked.get("text")):
        raise Wrong(422, "", "- input: prompt is required")
    return asked
