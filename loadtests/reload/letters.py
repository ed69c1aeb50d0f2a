"""Two policies of which nothing is the same, and upstreams that say which of them sent a request.

Everything that a request meets on its way carries the letter of its policy: the rule, the backend, the worker, the name
of the model there and the process that answers. So a mixture of the two cannot go unseen.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from gateway.money.keys import hash_key
from gateway.policy.folder import read_folder
from loadtests.soak.wire import Answer

LETTERS = ("a", "b")
MODEL, KEY, PEPPER = "chat", "reload-key", "reload-pepper"
SEATS = 1024
_USAGE = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
_LENGTH = b"content-length:"


class Echo(asyncio.Protocol):
    """An upstream of one letter; each answer names it and the model that was asked for."""

    def __init__(self, letter: str) -> None:
        self._letter, self._buffer = letter, bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = bytes(self._buffer).partition(b"\r\n\r\n")
        if not found:
            return
        size = int(head.lower().partition(_LENGTH)[2].partition(b"\r\n")[0] or 0)
        if len(body) >= size:
            self._buffer.clear()
            self._transport.write(self._answer(json.loads(body)["model"]))

    def _answer(self, model: str) -> bytes:
        message = {"role": "assistant", "content": self._letter}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        told = {"id": "x", "object": "chat.completion", "created": 1, "model": model}
        body = json.dumps({**told, "choices": [choice], "usage": _USAGE}).encode()
        return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def request() -> bytes:
    body = json.dumps({"model": MODEL, "max_tokens": 1, "messages": [{"role": "user", "content": "hello"}]}).encode()
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: reload\r\nauthorization: Bearer {KEY}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body


def policy(letter: str, port: int) -> dict[str, Any]:
    """File name -> content of the policy of one letter, whose worker listens on `port`."""
    worker = {"name": f"worker-{letter}", "url": f"http://127.0.0.1:{port}", "engine": "openai", "max_num_seqs": SEATS}
    backend = {
        "name": f"gpu-{letter}",
        "kind": "local",
        "zone": "onprem",
        "upstreams": [{**worker, "limit_work_s": 1e6}],
    }
    served = [{"backend": f"gpu-{letter}", "as": f"weights-{letter}"}]
    route = {"backends": [f"gpu-{letter}"]}
    return {
        "backends.yaml": {"zones": {"onprem": {}}, "backends": [backend]},
        "models.yaml": {"models": [{"name": MODEL, "modality": "text", "served_by": served}]},
        "routing.yaml": {"rules": [{"name": f"rule-{letter}", "match": {"model": MODEL}, "route": route}]},
        "tenants.yaml": {"tenants": [{"name": "acme", "keys": [hash_key(PEPPER, KEY)]}]},
    }


def write(folder: Path, files: Mapping[str, Any]) -> None:
    """One file after the other, as an editor or a copy does: what lies between them must not take effect."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))


def version_of(folder: Path) -> str:
    return read_folder(folder).version


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one answer: the letter of its policy, or what is wrong with it."""

    letter: str | None = None
    wrong: str | None = None


def judge(answer: Answer, versions: Mapping[str, str]) -> Verdict:
    """`versions`: version -> letter."""
    if answer.fault or answer.status != 200:
        return Verdict(wrong=f"failed: {answer.fault or answer.status} {answer.body[:200]!r}")
    version = answer.headers.get("x-gateway-policy", "")
    letter = versions.get(version)
    if letter is None:
        return Verdict(wrong=f"version {version} was never written")
    told = json.loads(answer.body)
    met = {name: answer.headers.get(f"x-gateway-{name}") for name in ("rule", "backend", "upstream")}
    met |= {"model": told["model"], "answered by": told["choices"][0]["message"]["content"]}
    wanted = {"rule": "rule-", "backend": "gpu-", "upstream": "worker-", "model": "weights-", "answered by": ""}
    if met != {name: prefix + letter for name, prefix in wanted.items()}:
        return Verdict(wrong=f"a mixture: version {letter} with {met}")
    return Verdict(letter)
