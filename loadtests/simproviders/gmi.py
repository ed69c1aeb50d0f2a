"""GMI Cloud's request queue: `/api/v1/ie/requestqueue/apikey`.

Models of speech and pictures answer on the POST, films are polled. A payload is checked for its required key before
anything else, as the real one does; what it does not know it ignores, but gpt-image-2-edit refuses.
"""

from __future__ import annotations

import base64
import re
from decimal import Decimal
from typing import Any, NamedTuple

from .base import Ask, Job, Made, Provider, Rate, Reply, Route, State, Unit, Wrong
from .samples import mp3, mp4, png

ROOT = "/api/v1/ie/requestqueue/apikey"
_WORDS: dict[State, str] = {
    "queued": "queued",
    "running": "processing",
    "succeeded": "success",
    "failed": "failed",
    "cancelled": "cancelled",
}
_DATA = re.compile(r"data:(image|audio)/[a-z0-9.+-]+;base64,([A-Za-z0-9+/=]+)\Z")
_EDIT_KEYS = {"prompt", "image", "mask", "size", "quality"}


class _Model(NamedTuple):
    needs: tuple[str, ...]
    kind: str
    unit: Unit
    pictures: tuple[str, ...] = ()
    at_once: bool = False


MODELS: dict[str, _Model] = {
    "gpt-image-2-generate": _Model(("prompt",), "image/png", "image", at_once=True),
    "gpt-image-2-edit": _Model(("prompt", "image"), "image/png", "image", ("image", "mask"), at_once=True),
    "seedream-5.0-lite": _Model(("prompt",), "image/jpeg", "image", ("image",), at_once=True),
    "veo-3.1-lite-generate-001": _Model(("prompt",), "video/mp4", "second", ("image", "lastFrame")),
    "wan2.7-i2v": _Model(("first_frame",), "video/mp4", "job", ("first_frame", "last_frame")),
    "wan2.6-t2v": _Model(("prompt",), "video/mp4", "job"),
    "Kling-Image2Video-V2.1-Pro": _Model(("image",), "video/mp4", "job", ("image",)),
    "elevenlabs-tts-v3": _Model(("text",), "audio/mp3", "job", at_once=True),
    "minimax-tts-speech-2.6-turbo": _Model(("text",), "audio/mp3", "job", at_once=True),
}


class Gmi(Provider):
    name = "gmi"
    root = ROOT
    rates = (
        Rate("gpt-image-2-*", "image", Decimal("0.006"), "low"),
        Rate("gpt-image-2-*", "image", Decimal("0.053"), "medium"),
        Rate("gpt-image-2-*", "image", Decimal("0.211"), "high"),
        Rate("gpt-image-2-*", "image", Decimal("0.053")),
        Rate("seedream-5.0-lite", "image", Decimal("0.035")),
        Rate("veo-3.1-lite-*", "second", Decimal("0.08"), "1080p"),
        Rate("veo-3.1-lite-*", "second", Decimal("0.05")),
        Rate("wan2.7-i2v", "job", Decimal("0.625")),
        Rate("wan2.6-t2v", "job", Decimal("0.15")),
        Rate("Kling-Image2Video-V2.1-Pro", "job", Decimal("0.098")),
        Rate("elevenlabs-tts-v3", "job", Decimal("0.10")),
        Rate("minimax-tts-speech-2.6-turbo", "job", Decimal("0.06")),
    )

    def routes(self) -> list[Route]:
        one = f"{ROOT}/requests/(?P<id>[^/]+)"
        return [
            Route("POST", f"{ROOT}/requests", self.submit, submits=True),
            Route("GET", f"{ROOT}/requests", self.listed),
            Route("GET", one, self.look, polls=True),
            Route("DELETE", one, self.cancel),
            Route("GET", f"{ROOT}/models", lambda ask: Reply({"model_ids": list(MODELS)})),
        ]

    def wrong(self, fault: Wrong) -> object:
        return {"error": fault.message}

    def submit(self, ask: Ask) -> Reply:
        body = ask.json
        payload = body.get("payload")
        if set(body) != {"model", "payload"} or not isinstance(payload, dict):
            raise Wrong(400, "", "want model and payload")
        name = str(body["model"])
        model = MODELS.get(name)
        if model is None:
            raise Wrong(404, "", f"model {name} not found")
        _check(name, model, payload)
        job = self.take(
            name,
            payload,
            [Made(model.kind, _file(model, payload))] * int(payload.get("n", 1)),
            model.unit,
            _quantity(model, payload),
            which=_which(payload),
            takes_s=0.0 if model.at_once else self.job_s,
        )
        return Reply(self._shown(job, full=False))

    def look(self, ask: Ask) -> Reply:
        assert ask.match is not None
        return Reply(self._shown(self.job(ask.match["id"])))

    def cancel(self, ask: Ask) -> Reply:
        assert ask.match is not None
        job = self.job(ask.match["id"])
        job.cancelled = job.cancelled or job.state in ("queued", "running")
        return Reply(self._shown(job))

    def listed(self, ask: Ask) -> Reply:
        model = ask.query.get("model_id")
        rows = [self._shown(job) for job in self.jobs.values() if model in (None, job.model)]
        return Reply({"requests": rows, "total": len(rows)})

    def _shown(self, job: Job, *, full: bool = True) -> dict[str, Any]:
        state = job.state
        now = int(job.created)
        page: dict[str, Any] = {
            "request_id": job.id,
            "model": job.model,
            "status": _WORDS[state],
            "created_at": now,
            "queued_at": now,
            "updated_at": now if state == "queued" else now + 1,
        }
        if full:
            page |= {"org_id": "org", "user_id": "user", "is_public": False, "payload": job.asked, "outcome": None}
        if state == "succeeded":
            rows = [{"id": str(i), "url": url} for i, url in enumerate(self.urls(job))]
            page["outcome"] = {"media_urls": rows, "thumbnail_image_url": f"{self.public}/files/thumbnail.png"}
        elif state == "failed":
            place, _, inner = self.faults.reason_key.partition(".")
            page[place] = {inner: job.fail} if inner else job.fail
        return page


def _check(name: str, model: _Model, payload: dict[str, Any]) -> None:
    for key in model.needs:
        if not payload.get(key):
            raise Wrong(400, "", f"missing required parameter: {key}")
    if name == "gpt-image-2-edit" and set(payload) - _EDIT_KEYS:
        raise Wrong(400, "", "unknown parameter")
    for key in model.pictures:
        given = payload.get(key, [])
        for one in given if isinstance(given, list) else [given]:
            found = _DATA.match(one)
            if not one.startswith("https://") and (found is None or not base64.b64decode(found[2], validate=True)):
                raise Wrong(400, "", f"{key}: want an address or base64")
    if name.startswith("Kling") and payload.get("duration", "5") not in ("5", "10"):
        raise Wrong(400, "", 'duration: want "5" or "10"')
    if name.startswith("veo") and payload.get("durationSeconds", 8) not in (4, 6, 8):
        raise Wrong(400, "", "durationSeconds: want 4, 6 or 8")
    if payload.get("size") == "1K":
        raise Wrong(500, "", "Backend error (400)")


def _file(model: _Model, payload: dict[str, Any]) -> bytes:
    if model.kind == "video/mp4":
        return mp4(_seconds(payload))
    return mp3() if model.kind.startswith("audio/") else png()


def _seconds(payload: dict[str, Any]) -> float:
    return float(payload.get("durationSeconds") or payload.get("duration") or (8 if "aspectRatio" in payload else 5))


def _quantity(model: _Model, payload: dict[str, Any]) -> float:
    if model.unit == "second":
        return float(payload.get("durationSeconds", 8))
    return float(payload.get("n", 1)) if model.unit == "image" else 1.0


def _which(payload: dict[str, Any]) -> str:
    return str(payload.get("quality") or payload.get("resolution") or "").lower()
