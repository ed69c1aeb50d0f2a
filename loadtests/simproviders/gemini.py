"""Google's Gemini API: Veo's long-running operations, and the OpenAI-compatible endpoint for chat and embeddings, whose
errors come in a list."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from .base import Ask, Made, Provider, Rate, Reply, Route, Wrong
from .samples import mp4

_THOUGHT, _SAID, _READ = 30, 5, 8
_LENGTHS = (4, 6, 8)


class Gemini(Provider):
    name = "gemini"
    rates = (
        Rate("veo-3.1-generate-001", "second", Decimal("0.40")),
        Rate("veo-3.1-lite-generate-001", "second", Decimal("0.05")),
    )

    def routes(self) -> list[Route]:
        return [
            Route("POST", r"/v1beta/models/(?P<model>[\w.-]+):predictLongRunning", self.film, submits=True),
            Route("GET", r"/v1beta/models/[\w.-]+/operations/(?P<id>[\w.-]+)", self.look, polls=True),
            Route("GET", r"/v1beta/files/(?P<id>[\w.-]+):download", self.download),
            Route("POST", "/v1beta/openai/chat/completions", self.chat),
            Route("POST", "/v1beta/openai/embeddings", self.embed),
        ]

    def authorized(self, ask: Ask) -> bool:
        if ask.path.startswith("/v1beta/openai/"):
            return super().authorized(ask)
        return ask.headers.get("x-goog-api-key") == self.key

    def film(self, ask: Ask) -> Reply:
        assert ask.match is not None
        asked = ask.json
        instances, parameters = asked.get("instances"), asked.get("parameters") or {}
        seconds = parameters.get("durationSeconds", 8)
        if not isinstance(instances, list) or not instances[0].get("prompt") or seconds not in _LENGTHS:
            raise Wrong(400, "INVALID_ARGUMENT", "instances or durationSeconds")
        job = self.take(ask.match["model"], asked, [Made("video/mp4", mp4(seconds))], "second", seconds)
        return Reply({"name": f"models/{job.model}/operations/{job.id}"})

    def look(self, ask: Ask) -> Reply:
        assert ask.match is not None
        job = self.job(ask.match["id"])
        body: dict[str, Any] = {"name": f"models/{job.model}/operations/{job.id}"}
        if job.state == "failed":
            body |= {"done": True, "error": {"code": 13, "message": job.fail}}
        elif job.state == "succeeded":
            base = f"{self.public}/v1beta/files"
            samples = [{"video": {"uri": f"{base}/{job.id}:download?alt=media"}} for _ in job.made]
            told: dict[str, Any] = {"generatedSamples": samples}
            if not samples:
                told = {"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": ["filtered"]}
            body |= {"done": True, "response": {"generateVideoResponse": told}}
        return Reply(body)

    def download(self, ask: Ask) -> Reply:
        assert ask.match is not None
        if self.faults.result_status != 200:
            return Reply(b"denied", self.faults.result_status)
        made = self.job(ask.match["id"]).made[0]
        return Reply(made.data, content_type=made.media_type.encode())

    def chat(self, ask: Ask) -> Reply:
        """What it thought is in the sum alone."""
        asked = ask.json
        if not asked.get("messages"):
            raise Wrong(400, "INVALID_ARGUMENT", "contents are required")
        usage = {"prompt_tokens": _READ, "completion_tokens": _SAID, "total_tokens": _READ + _SAID + _THOUGHT}
        choice = {"index": 0, "message": {"role": "assistant", "content": "Grüß Gott"}, "finish_reason": "stop"}
        body = {"id": "g-1", "object": "chat.completion", "created": 1, "model": asked["model"]}
        return Reply(body | {"choices": [choice], "usage": usage})

    def embed(self, ask: Ask) -> Reply:
        data = [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}]
        return Reply({"object": "list", "data": data, "model": ask.json["model"], "usage": {}})

    def wrong(self, fault: Wrong) -> object:
        error = {"code": fault.status, "message": fault.message, "status": fault.code or "RESOURCE_EXHAUSTED"}
        return [{"error": error}]
