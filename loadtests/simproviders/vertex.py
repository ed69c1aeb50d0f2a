"""Veo on Vertex AI: `/v1/projects/P/locations/L/publishers/google/models/M:predictLongRunning`.

Also the token endpoint of service accounts (`/token`): it checks the signed assertion and hands out the key.
"""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

import jwt

from .base import Ask, Job, Made, Provider, Rate, Reply, Route, Wrong
from .samples import mp4

MODEL = r"/v1(?:beta1)?/(?P<place>projects/[^/]+/locations/[^/]+)/publishers/google/models/(?P<model>[^/:]+)"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_INVALID = 3
_PARAMETERS = {
    "sampleCount", "durationSeconds", "aspectRatio", "resolution", "seed", "generateAudio", "negativePrompt",
    "personGeneration", "storageUri", "enhancePrompt", "compressionQuality", "fps", "pubsubTopic",
}  # fmt: skip
_STATUSES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"} | {
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}


class Vertex(Provider):
    name = "vertex"
    root = "/v1/projects/simulated/locations/us-central1"
    rates = (
        Rate("veo-3.1-lite-*", "second", Decimal("0.08"), "1080p"),
        Rate("veo-3.1-lite-*", "second", Decimal("0.05")),
        Rate("veo-3.1-fast-*", "second", Decimal("0.15")),
        Rate("veo-3.1-*", "second", Decimal("0.60"), "4k"),
        Rate("veo-3.1-*", "second", Decimal("0.40")),
    )

    def reset(self) -> None:
        super().reset()
        self.public_key: str | bytes = b""
        """PEM of the service account that `/token` serves."""
        self.tokens = 0
        """Access tokens handed out."""
        self.lives_s = 3600

    def routes(self) -> list[Route]:
        return [
            Route("POST", f"{MODEL}:predictLongRunning", self.submit, submits=True),
            Route("POST", f"{MODEL}:fetchPredictOperation", self.look, polls=True),
            Route("POST", "/token", self.token),
        ]

    def authorized(self, ask: Ask) -> bool:
        return ask.path == "/token" or super().authorized(ask)

    def wrong(self, fault: Wrong) -> object:
        status = fault.code or _STATUSES.get(fault.status, "INTERNAL")
        return {"error": {"code": fault.status, "message": fault.message, "status": status}}

    def token(self, ask: Ask) -> Reply:
        form = {name: values[0] for name, values in parse_qs(ask.raw.decode()).items()}
        if form.get("grant_type") != GRANT:
            raise Wrong(400, "", "unknown grant")
        try:
            jwt.decode(form.get("assertion", ""), self.public_key, ["RS256"], audience=f"{self.public}/token")
        except jwt.PyJWTError as fault:
            raise Wrong(400, "", f"invalid_grant: {fault}") from None
        self.tokens += 1
        return Reply({"access_token": self.key, "expires_in": self.lives_s, "token_type": "Bearer"})

    def submit(self, ask: Ask) -> Reply:
        body = ask.json
        assert ask.match is not None
        instances, parameters = body.get("instances"), body.get("parameters", {})
        if not isinstance(instances, list) or len(instances) != 1 or not set(body) <= {"instances", "parameters"}:
            raise Wrong(400, "", "want one instance")
        _check(instances[0], parameters)
        count, seconds = int(parameters.get("sampleCount", 1)), int(parameters.get("durationSeconds", 8))
        name = f"{ask.match['place']}/publishers/google/models/{ask.match['model']}/operations/op-{self.submits + 1}"
        job = self.take(
            ask.match["model"],
            body,
            [Made("video/mp4", mp4(float(seconds)))] * count,
            "second",
            count * seconds,
            which=parameters.get("resolution", "720p"),
            id=name,
        )
        return Reply({"name": job.id})

    def look(self, ask: Ask) -> Reply:
        job = self.job(str(ask.json.get("operationName")))
        return Reply(_shown(job))


def _shown(job: Job) -> dict[str, Any]:
    page: dict[str, Any] = {"name": job.id}
    match job.state:
        case "succeeded":
            films = [
                {"bytesBase64Encoded": base64.b64encode(made.data).decode(), "mimeType": made.media_type}
                for made in job.made
            ]
            response: dict[str, Any] = {"@type": "type.googleapis.com/cloud.ai.GenerateVideoResponse", "videos": films}
            if not films:
                response |= {"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": ["it was filtered"]}
            page |= {"done": True, "response": response}
        case "failed":
            code = int(job.fail_code) if job.fail_code.isdigit() else _INVALID
            page |= {"done": True, "error": {"code": code, "message": job.fail}}
    return page


def _check(instance: dict[str, Any], parameters: dict[str, Any]) -> None:
    if not instance.get("prompt") and not instance.get("image"):
        raise Wrong(400, "", "want a prompt or an image")
    for name in ("image", "lastFrame"):
        image = instance.get(name)
        if image is not None and not (set(image) == {"bytesBase64Encoded", "mimeType"} or "gcsUri" in image):
            raise Wrong(400, "", f"{name}: want bytes and a type")
        if image is not None and "gcsUri" not in image:
            base64.b64decode(image["bytesBase64Encoded"], validate=True)
    if unknown := set(parameters) - _PARAMETERS:
        raise Wrong(400, "", f"unknown parameters {sorted(unknown)}")
    if parameters.get("durationSeconds", 8) not in (4, 6, 8):
        raise Wrong(400, "", "durationSeconds: want 4, 6 or 8")
