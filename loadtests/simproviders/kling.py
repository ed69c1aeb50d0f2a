"""Kling's API. Kling has no SDK in the package index that we use: written down from public clients, and its tokens are
verified by PyJWT rather than by anything of ours."""

from __future__ import annotations

import base64
import binascii
from decimal import Decimal
from typing import Any

import jwt

from .base import Ask, Job, Made, Provider, Rate, Reply, Route, Wrong
from .samples import mp4, png

_STATES = {"queued": "submitted", "running": "processing", "succeeded": "succeed", "failed": "failed"}
_LENGTHS = ("5", "10")
_BAD, _MISSING, _AUTH = "1201", "1203", "1000"


class Kling(Provider):
    """`key` is `ACCESS:SECRET`."""

    name = "kling"
    rates = (
        Rate("kling-v*", "second", Decimal("0.056"), "std"),
        Rate("kling-v*", "second", Decimal("0.098"), "pro"),
        Rate("kling-v*", "image", Decimal("0.014")),
    )

    def routes(self) -> list[Route]:
        film = "/v1/videos/(?P<kind>text2video|image2video)"
        picture = "/v1/images/(?P<kind>generations)"
        return [
            Route("POST", film, self.film, submits=True),
            Route("POST", picture, self.picture, submits=True),
            Route("GET", film + r"/(?P<id>[\w.-]+)", self.look, polls=True),
            Route("GET", picture + r"/(?P<id>[\w.-]+)", self.look, polls=True),
        ]

    def authorized(self, ask: Ask) -> bool:
        access, _, secret = self.key.partition(":")
        token = ask.headers.get("authorization", "").removeprefix("Bearer ")
        try:
            claims = jwt.decode(token, secret, algorithms=["HS256"], options={"require": ["exp", "nbf", "iss"]})
        except jwt.PyJWTError:
            return False
        return bool(claims["iss"] == access)

    def film(self, ask: Ask) -> Reply:
        assert ask.match is not None
        asked, kind = ask.json, ask.match["kind"]
        if asked.get("duration", "5") not in _LENGTHS or asked.get("mode", "std") not in ("std", "pro"):
            raise Wrong(400, _BAD, "duration or mode")
        if kind == "image2video":
            _picture(asked, "image")
        elif not asked.get("prompt"):
            raise Wrong(400, _BAD, "prompt")
        seconds = int(asked.get("duration", "5"))
        made = [Made("video/mp4", mp4(seconds))]
        return self._made(asked, made, "second", seconds, asked.get("mode", "std"))

    def picture(self, ask: Ask) -> Reply:
        asked = ask.json
        count = asked.get("n", 1)
        return self._made(asked, [Made("image/png", png(16, 16, 20 * i)) for i in range(count)], "image", count, "")

    def look(self, ask: Ask) -> Reply:
        assert ask.match is not None
        id = ask.match["id"]
        marked = (job for job in self.jobs.values() if job.asked.get("external_task_id") == id)
        job = self.jobs.get(id) or next(marked, None)
        if job is None:
            raise Wrong(404, _MISSING, "the requested resource does not exist")
        return self._shown(job)

    def wrong(self, fault: Wrong) -> object:
        code = fault.code or {401: _AUTH, 404: _MISSING, 429: "1303"}.get(fault.status, "5000")
        told = int(code) if code.isdigit() else 1000
        return {"code": told, "message": fault.message, "request_id": "r-1"}

    def _made(self, asked: dict[str, Any], made: list[Made], unit: Any, quantity: float, which: str) -> Reply:
        mark = asked.get("external_task_id")
        if mark is not None and any(job.asked.get("external_task_id") == mark for job in self.jobs.values()):
            raise Wrong(400, _BAD, "external_task_id is not unique")
        id = f"8672837417591{self.submits:05d}"
        return self._shown(self.take(asked["model_name"], asked, made, unit, quantity, which=which, id=id))

    def _shown(self, job: Job) -> Reply:
        result: dict[str, Any] = {}
        if job.state == "succeeded":
            urls = self.urls(job)
            result = (
                {"images": [{"index": i, "url": url} for i, url in enumerate(urls)]}
                if job.unit == "image"
                else {"videos": [{"id": job.id, "url": url, "duration": f"{job.quantity:g}"} for url in urls]}
            )
        data = {
            "task_id": job.id,
            "task_status": _STATES[job.state],
            "task_status_msg": (job.fail or "") if job.state == "failed" else "",
            "task_info": {"external_task_id": job.asked.get("external_task_id")},
            "task_result": result,
            "created_at": int(job.created * 1000),
            "updated_at": int(job.created * 1000),
        }
        return Reply({"code": 0, "message": "SUCCEED", "request_id": "r-1", "data": data})


def _picture(asked: dict[str, Any], name: str) -> None:
    """Raw base64: a data address is refused."""
    try:
        base64.b64decode(asked.get(name) or "-", validate=True)
    except (binascii.Error, ValueError):
        raise Wrong(400, _BAD, f"{name} is not base64") from None
