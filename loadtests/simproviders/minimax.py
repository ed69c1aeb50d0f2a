"""MiniMax's speech and films, by both of its APIs. It has no SDK here: written down from its own pages and public
clients. Nearly every error is a 200."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from .base import Ask, Job, Made, Provider, Rate, Reply, Route, Wrong
from .samples import mp3, mp4, wav

_FORMATS = {"mp3": mp3, "wav": wav, "pcm": wav, "flac": wav}
_OLD = {"queued": "Queueing", "running": "Processing", "succeeded": "Success", "failed": "Fail"}
_BAD = "2013"
_CODES = {401: "1004", 402: "1008", 404: _BAD, 429: "1002"}
_LENGTHS = (6, 10)


class MiniMax(Provider):
    name = "minimax"
    rates = (
        Rate("speech-*-turbo", "character", Decimal("0.00006")),
        Rate("speech-*-hd", "character", Decimal("0.0001")),
        Rate("MiniMax-H3", "second", Decimal("0.08"), "768p"),
        Rate("MiniMax-H3", "second", Decimal("0.13"), "2k"),
        Rate("MiniMax-Hailuo-*", "second", Decimal("0.045")),
    )

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/v1/t2a_v2", self.speak, submits=True),
            Route("POST", "/v1/video_generation", self.film, submits=True),
            Route("GET", "/v1/query/video_generation", self.look, polls=True),
            Route("GET", "/v1/files/retrieve", self.file, polls=True),
            Route("POST", "/v2/video_generation", self.newer_film, submits=True),
            Route("GET", r"/v2/query/video_generation/(?P<id>[\w-]+)", self.newer_look, polls=True),
            Route("DELETE", r"/v2/video_generation/(?P<id>[\w-]+)", self.cancel),
        ]

    def speak(self, ask: Ask) -> Reply:
        asked = ask.json
        voice, sound = asked.get("voice_setting") or {}, asked.get("audio_setting") or {}
        form = sound.get("format", "mp3")
        if not voice.get("voice_id") or not 0.5 <= voice.get("speed", 1) <= 2 or form not in _FORMATS:
            raise Wrong(200, _BAD, "invalid params, voice_setting or audio_setting")
        if not asked.get("text") or asked.get("output_format", "hex") != "hex":
            raise Wrong(200, _BAD, "invalid params, text")
        data = _FORMATS[form]()
        job = self.take(asked["model"], asked, [Made("audio/mpeg", data)], "character", len(asked["text"]), takes_s=0.0)
        extra = {"audio_length": 100, "audio_sample_rate": sound.get("sample_rate"), "usage_characters": job.quantity}
        body = {"data": {"audio": data.hex(), "status": 2}, "extra_info": extra, "trace_id": job.id}
        return Reply(body | _fine())

    def film(self, ask: Ask) -> Reply:
        asked = ask.json
        if asked.get("duration", 6) not in _LENGTHS or not (asked.get("prompt") or asked.get("first_frame_image")):
            raise Wrong(200, _BAD, "invalid params, duration")
        seconds = asked.get("duration", 6)
        job = self.take(asked["model"], asked, [Made("video/mp4", mp4(seconds))], "second", seconds)
        return Reply({"task_id": job.id} | _fine())

    def look(self, ask: Ask) -> Reply:
        job = self.job(ask.query["task_id"])
        body: dict[str, Any] = {"task_id": job.id, "status": _OLD[job.state]}
        if job.state == "succeeded":
            body |= {"file_id": f"f-{job.id}", "video_width": 1366, "video_height": 768}
        return Reply(body | _fine())

    def file(self, ask: Ask) -> Reply:
        job = self.job(ask.query["file_id"].removeprefix("f-"))
        return Reply({"file": {"file_id": f"f-{job.id}", "download_url": self.urls(job)[0]}} | _fine())

    def newer_film(self, ask: Ask) -> Reply:
        asked = ask.json
        texts = [part for part in asked.get("content") or () if part.get("type") == "text" and part.get("text")]
        seconds, which = asked.get("duration", 5), str(asked.get("resolution", "768p")).lower()
        if not texts or type(seconds) is not int:
            raise Wrong(200, _BAD, "invalid params, content")
        job = self.take(asked["model"], asked, [Made("video/mp4", mp4(seconds))], "second", seconds, which=which)
        return Reply({"task_id": job.id} | _fine())

    def newer_look(self, ask: Ask) -> Reply:
        assert ask.match is not None
        job = self.job(ask.match["id"])
        body: dict[str, Any] = {"task_id": job.id, "status": job.state}
        if job.state == "succeeded":
            body["content"] = {"video_url": self.urls(job)[0]}
        if job.state == "failed":
            body["error"] = {"code": job.fail_code, "message": job.fail}
        return Reply(body | _fine())

    def cancel(self, ask: Ask) -> Reply:
        assert ask.match is not None
        job: Job = self.job(ask.match["id"])
        job.cancelled = job.cancelled or job.state in ("queued", "running")
        return Reply(_fine())

    def wrong(self, fault: Wrong) -> object:
        code = fault.code if fault.code.isdigit() else _CODES.get(fault.status, "1000")
        return {"base_resp": {"status_code": int(code), "status_msg": fault.message}}


def _fine() -> dict[str, Any]:
    return {"base_resp": {"status_code": 0, "status_msg": "success"}}
