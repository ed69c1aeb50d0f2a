"""What is asked, and what a right answer is: one row per kind of request. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec

from loadtests.soak.site import GPU, KEY, MODEL, NARROW
from loadtests.soak.wire import Answer

FEWEST_TOKENS, MOST_TOKENS = 4, 40
NARROW_TOKENS = 28
LARGE_BYTES = 200_000
INPUTS = 3
OUTCOMES = {"local", "spilled", "fallback", "managed"}
EXCUSES = {(429, "fleet_saturated"), (502, "upstream_error"), (503, "no_capacity"), (504, "deadline_exceeded")}
"""Errors that this load and these faults may bring (docs/errors.md); any other one is wrong."""
BROKE_OFF = "broke off"
Body = dict[str, Any]


class Wrong(Exception):
    """An answer that is neither right nor a documented error; the message says why."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. `nonce` comes back in chat answers; `tokens` is the exact length of the answer."""

    kind: Kind
    nonce: str
    tokens: int
    raw: bytes

    @property
    def half(self) -> int:
        """Bytes of the head and half of the body."""
        head = self.raw.index(b"\r\n\r\n") + 4
        return (head + len(self.raw)) // 2


@dataclass(frozen=True, slots=True)
class Kind:
    """`share` of the load; `body(nonce, tokens)`; `judge(ask, answer)` of an answer with status 200."""

    name: str
    share: float
    path: str
    body: Callable[[str, int], Body]
    judge: Callable[[Ask, Answer], str]
    stream: bool = False
    flagged: bool = False
    queues: bool = False
    tokens: int | None = None
    """None: drawn."""

    def ask(self, number: int, rng: Random) -> Ask:
        nonce = f"n{number}"
        tokens = self.tokens or rng.randint(FEWEST_TOKENS, MOST_TOKENS)
        body = self.body(nonce, tokens) | ({"stream": True} if self.stream else {})
        return Ask(self, nonce, tokens, _request(self.path, body, flagged=self.flagged))


def _request(path: str, body: Body, *, flagged: bool) -> bytes:
    content = msgspec.json.encode(body)
    lines = [f"POST /v1/{path} HTTP/1.1", "host: soak", f"authorization: Bearer {KEY}"]
    lines += ["content-type: application/json", f"content-length: {len(content)}"]
    lines += ["x-data-residency: local"] if flagged else []
    return "\r\n".join([*lines, "", ""]).encode() + content


# bodies


def _chat(model: str, size: int = 0) -> Callable[[str, int], Body]:
    said = [{"role": "user", "content": "hello " + "lorem ipsum " * (size // 12)}]
    return lambda nonce, tokens: {
        "model": model,
        "user": nonce,
        "max_tokens": tokens,
        "ignore_eos": True,
        "messages": said,
    }


def _response(nonce: str, tokens: int) -> Body:
    return {"model": MODEL, "input": "hello", "max_output_tokens": tokens, "ignore_eos": True}


def _message(nonce: str, tokens: int) -> Body:
    said = [{"role": "user", "content": "hello"}]
    return {"model": MODEL, "max_tokens": tokens, "ignore_eos": True, "messages": said}


def _count(nonce: str, tokens: int) -> Body:
    return {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}


def _embeddings(nonce: str, tokens: int) -> Body:
    return {"model": MODEL, "input": ["a", "b", "c"][:INPUTS]}


# answers


def judge(ask: Ask, answer: Answer) -> str:
    """What became of a request whose client stayed: its outcome, an error's code, or BROKE_OFF. Raises Wrong."""
    if not answer.whole:
        raise Wrong(answer.fault or "the answer has no end")
    if answer.status != 200:
        return _error(ask, answer)
    outcome = answer.headers.get("x-gateway-outcome", "none")
    if outcome not in OUTCOMES:
        raise Wrong(f"outcome {outcome}")
    if ask.kind.flagged and answer.headers.get("x-gateway-backend") != GPU:
        raise Wrong("a flagged request left the fleet")
    return ask.kind.judge(ask, answer) or outcome


def _error(ask: Ask, answer: Answer) -> str:
    code = error_code(answer.body)
    if ask.kind.judge is _never:
        _expect("error", (answer.status, code), (404, "model_not_found"))
    elif (answer.status, code) not in EXCUSES:
        raise Wrong(f"status {answer.status} {code}")
    return code


def error_code(body: bytes) -> str:
    """The code of an error in either shape. Raises Wrong for anything else."""
    try:
        error = msgspec.json.decode(body)["error"]
        return str(error["details"]["error_code"] if "details" in error else error["code"])
    except (msgspec.DecodeError, KeyError, TypeError):
        raise Wrong("an error without its shape") from None


def _expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise Wrong(f"{what}: {found!r} instead of {wanted!r}")


def _whole(answer: Answer) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = msgspec.json.decode(answer.body)
    except msgspec.DecodeError:
        raise Wrong("the body is not JSON") from None
    return found


def _events(answer: Answer) -> Iterator[Any]:
    """The data of each event, decoded but for `[DONE]`. Raises Wrong where the last one is cut off."""
    if not answer.body.endswith(b"\n\n"):
        raise Wrong("the stream ends inside an event")
    for line in answer.body.split(b"\n"):
        if line.startswith(b"data: "):
            data = line.removeprefix(b"data: ")
            yield "[DONE]" if data == b"[DONE]" else msgspec.json.decode(data)


def _chat_whole(ask: Ask, answer: Answer) -> str:
    found = _whole(answer)
    _expect("nonce", found["system_fingerprint"], ask.nonce)
    _expect("tokens", found["usage"]["completion_tokens"], ask.tokens)
    return ""


def _chat_stream(ask: Ask, answer: Answer) -> str:
    events = list(_events(answer))
    if events and isinstance(events[-1], dict) and "error" in events[-1]:
        return BROKE_OFF
    _expect("end", events and events[-1], "[DONE]")
    text = ""
    for event in events[:-1]:
        _expect("nonce", event["system_fingerprint"], ask.nonce)
        text += "".join(choice["delta"].get("content") or "" for choice in event["choices"])
    _expect("tokens", len(text.split()), ask.tokens)
    return ""


def _response_whole(ask: Ask, answer: Answer) -> str:
    found = _whole(answer)
    _expect("object", found["object"], "response")
    _expect("tokens", found["usage"]["output_tokens"], ask.tokens)
    return ""


def _response_stream(ask: Ask, answer: Answer) -> str:
    events = list(_events(answer))
    if events and events[-1]["type"] == "error":
        return BROKE_OFF
    _expect("numbers", [event["sequence_number"] for event in events], list(range(len(events))))
    _expect("end", events and events[-1]["type"], "response.incomplete")
    _expect("tokens", events[-1]["response"]["usage"]["output_tokens"], ask.tokens)
    return ""


def _message_whole(ask: Ask, answer: Answer) -> str:
    found = _whole(answer)
    _expect("type", found["type"], "message")
    _expect("tokens", found["usage"]["output_tokens"], ask.tokens)
    return ""


def _message_stream(ask: Ask, answer: Answer) -> str:
    events = [event for event in _events(answer) if event != "[DONE]"]
    if events and events[-1]["type"] == "error":
        return BROKE_OFF
    _expect("end", events and events[-1]["type"], "message_stop")
    deltas = [event for event in events if event["type"] == "content_block_delta"]
    _expect("tokens", len("".join(event["delta"]["text"] for event in deltas).split()), ask.tokens)
    return ""


def _count_whole(ask: Ask, answer: Answer) -> str:
    _expect("input_tokens", _whole(answer)["input_tokens"] > 0, True)
    return ""


def _embeddings_whole(ask: Ask, answer: Answer) -> str:
    _expect("vectors", [row["index"] for row in _whole(answer)["data"]], list(range(INPUTS)))
    return ""


def _never(ask: Ask, answer: Answer) -> str:
    raise Wrong("answered, although nobody has this model")


KINDS = (
    Kind("chat", 0.30, "chat/completions", _chat(MODEL), _chat_whole),
    Kind("chat, streamed", 0.30, "chat/completions", _chat(MODEL), _chat_stream, stream=True),
    Kind("chat, flagged", 0.06, "chat/completions", _chat(MODEL), _chat_whole, flagged=True),
    Kind("chat, flagged, streamed", 0.06, "chat/completions", _chat(MODEL), _chat_stream, stream=True, flagged=True),
    Kind("chat, 200 KB", 0.02, "chat/completions", _chat(MODEL, LARGE_BYTES), _chat_whole),
    Kind(
        "chat that queues",
        0.06,
        "chat/completions",
        _chat(NARROW),
        _chat_stream,
        stream=True,
        queues=True,
        tokens=NARROW_TOKENS,
    ),
    Kind("responses", 0.03, "responses", _response, _response_whole),
    Kind("responses, streamed", 0.04, "responses", _response, _response_stream, stream=True),
    Kind("messages", 0.03, "messages", _message, _message_whole),
    Kind("messages, streamed", 0.04, "messages", _message, _message_stream, stream=True),
    Kind("count_tokens", 0.02, "messages/count_tokens", _count, _count_whole),
    Kind("embeddings", 0.03, "embeddings", _embeddings, _embeddings_whole),
    Kind("no such model", 0.01, "chat/completions", _chat("nobody"), _never),
)
