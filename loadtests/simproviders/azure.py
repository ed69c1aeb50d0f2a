"""Azure OpenAI's v1 API: `/openai/v1`, OpenAI's shapes, a key in a header of its own."""

from __future__ import annotations

import base64
from decimal import Decimal

from .base import Ask, Made, Provider, Rate, Reply, Route, Wrong
from .samples import png

ROOT = "/openai/v1"
DEPLOYMENTS = ("gpt-chat", "gpt-image-2")
_CODES = {401: "401", 404: "DeploymentNotFound", 429: "429"}
_WORDS = 3


class Azure(Provider):
    name = "azure"
    root = ROOT
    rates = (Rate("gpt-chat", "token", Decimal("0.00001")), Rate("gpt-image-2", "token", Decimal("0.00003")))

    def routes(self) -> list[Route]:
        return [
            Route("POST", f"{ROOT}/chat/completions", self.chat, submits=True),
            Route("POST", f"{ROOT}/images/generations", self.picture, submits=True),
        ]

    def authorized(self, ask: Ask) -> bool:
        return ask.headers.get("api-key") == self.key

    def wrong(self, fault: Wrong) -> object:
        code = fault.code or _CODES.get(fault.status)
        return {
            "error": {"code": code, "message": fault.message, "param": "prompt", "type": None, "status": fault.status}
        }

    def chat(self, ask: Ask) -> Reply:
        body = ask.json
        job = self.take(_deployment(body.get("model")), body, [], "token", 10 + _WORDS, takes_s=0.0)
        message = {"role": "assistant", "content": "here it is", "refusal": None}
        usage = {"prompt_tokens": 10, "completion_tokens": _WORDS, "total_tokens": 10 + _WORDS}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "content_filter_results": {}}
        page = {"id": job.id, "object": "chat.completion", "created": int(job.created), "model": job.model}
        return Reply({**page, "choices": [choice], "usage": usage, "prompt_filter_results": []})

    def picture(self, ask: Ask) -> Reply:
        body = ask.json
        job = self.take(_deployment(body.get("model")), body, [Made("image/png", png())], "token", 272, takes_s=0.0)
        rows = [{"b64_json": base64.b64encode(made.data).decode()} for made in job.made]
        usage = {"input_tokens": 10, "output_tokens": 272, "total_tokens": 282}
        return Reply({"created": int(job.created), "data": rows, "usage": usage})


def _deployment(name: object) -> str:
    if name not in DEPLOYMENTS:
        raise Wrong(404, "DeploymentNotFound", "The API deployment for this resource does not exist.")
    return str(name)
