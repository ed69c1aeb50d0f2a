"""curl, as the documentation types it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from typing import Any

from features import HELLO, KEY, LOCAL, MODELS, NOWHERE, URL, V1, WEATHER, full_house, lines_of, run

ANTHROPIC = {"x-api-key": KEY, "anthropic-version": "2023-06-01"}
SECONDS = "20"


def curl(url: str, body: object = None, headers: dict[str, str] | None = None, *options: str) -> str:
    """The status on the last line. `--noproxy`: the machine's own settings are not what is tried here."""
    given = {"Authorization": f"Bearer {KEY}", **(headers or {})}
    typed = ["curl", "-sS", "--noproxy", "*", "--max-time", SECONDS, "-w", "\n%{http_code}", *options, url]
    for name, value in given.items():
        typed += ["-H", f"{name}: {value}"]
    if body is not None:
        typed += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    return subprocess.run(typed, check=True, capture_output=True, text=True).stdout


def ask(path: str, body: object = None, headers: dict[str, str] | None = None, *options: str) -> tuple[int, Any]:
    raw, _, status = curl(f"{V1}/{path}", body, headers, *options).rpartition("\n")
    return int(status), json.loads(raw)


def refused(model: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    status, answer = ask("chat/completions", {"model": model, "messages": HELLO}, headers)
    return status, answer["error"]["code"]


def chat() -> None:
    status, answer = ask("chat/completions", {"model": "chat", "messages": HELLO})
    assert (status, bool(answer["choices"][0]["message"]["content"])) == (200, True), answer


def stream() -> None:
    body = {"model": "chat", "messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
    *events, end = [line for line in curl(f"{V1}/chat/completions", body, None, "-N").split("\n") if "data: " in line]
    assert end == "data: [DONE]", end
    assert json.loads(events[-1].removeprefix("data: "))["usage"]["completion_tokens"] > 0


def tools() -> None:
    body = {"model": "chat", "messages": HELLO, "tools": [{"type": "function", "function": WEATHER}]}
    _, answer = ask("chat/completions", {**body, "tool_choice": "required"})
    assert answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "weather"


def embeddings() -> None:
    assert len(ask("embeddings", {"model": "chat", "input": ["a", "b"]})[1]["data"]) == 2


def images() -> None:
    _, answer = ask("images/generations", {"model": "pic", "prompt": "a fox", "size": "512x512"})
    assert base64.b64decode(answer["data"][0]["b64_json"]).startswith(b"\x89PNG")


def messages() -> None:
    body = {"model": "chat", "max_tokens": 9, "messages": HELLO}
    raw, _, status = curl(f"{URL}/v1/messages", body, ANTHROPIC).rpartition("\n")
    assert (status, json.loads(raw)["type"]) == ("200", "message"), raw


def models() -> None:
    assert {model["id"] for model in ask("models")[1]["data"]} == MODELS


def bad_key() -> None:
    assert refused("chat", {"Authorization": "Bearer wrong"}) == (401, "invalid_key")


def full() -> None:
    assert refused("full") == (429, "fleet_saturated")


def down() -> None:
    assert refused("down") == (503, "no_capacity")


def retries() -> str:
    body = {"model": "busy", "messages": HELLO, "max_tokens": 2}
    with full_house():
        answered = curl(f"{V1}/chat/completions", body, None, "--retry", "3")
    assert answered.endswith("200"), answered
    return "--retry 3"


def header() -> None:
    assert ask("chat/completions", {"model": "chat", "messages": HELLO}, LOCAL)[0] == 200
    assert refused("chat", NOWHERE) == (400, "residency_unknown")


def typed() -> None:
    env = {**os.environ, "no_proxy": "*"}
    shell = ["bash", "-euo", "pipefail", "-c", lines_of("curl", "bash")]
    told = subprocess.run(shell, env=env, check=True, capture_output=True, text=True).stdout
    assert '"choices"' in told, told


run(
    {
        "chat": chat,
        "stream": stream,
        "tools": tools,
        "embeddings": embeddings,
        "images": images,
        "messages": messages,
        "models": models,
        "401": bad_key,
        "429": full,
        "503": down,
        "retry": retries,
        "header": header,
        "page": typed,
    }
)
