"""The OpenAI wire format, spoken by vLLM, SGLang, TensorRT-LLM and most bought APIs: requests out, usage back.

Here are what all endpoints share on their way up, and chat/completions, completions and embeddings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw

from gateway.errors import GatewayError
from gateway.model import Upstream, Usage
from gateway.upstreams.credentials import passing_header
from gateway.upstreams.dialects.endpoint import ADDRESSED, Endpoint, words
from gateway.upstreams.dialects.figures import MOST, ODD_JSON, Figures, nested, prompt_parts
from gateway.upstreams.sse import Events, Note, Reader

RESPONSE_HEADERS = frozenset({b"content-type", b"cache-control"})
"""What comes down. The upstream's account, rate-limit and routing headers are ours to know, not the caller's."""
_INCLUDE_USAGE = Raw(b'{"include_usage":true}')
JSON = b"application/json"
_DONE = b"[DONE]"
_ERROR = (b'{"error"', b'{ "error"')


class _Answer(msgspec.Struct):
    usage: Any = None


class _Chunk(msgspec.Struct):
    choices: list[Raw] = msgspec.field(default_factory=list)
    usage: Any = None


_answer = msgspec.json.Decoder(_Answer)
_chunk = msgspec.json.Decoder(_Chunk)
_fields = msgspec.json.Decoder(dict[str, Raw])


def target(upstream: Upstream, endpoint: str) -> str:
    """The request path. A worker's URL is its root; a bought API's URL already holds its version segment."""
    base = urlsplit(upstream.url).path.rstrip("/")
    if upstream.kind == "local" and not base.endswith("/v1"):
        base += "/v1"
    return f"{base}/{endpoint}"


def headers(
    upstream: Upstream,
    attempt_id: str,
    stream: bool,
    more: Iterable[tuple[bytes, bytes]] = (),
    kind: bytes = JSON,
    accepts: bytes = JSON,
) -> list[tuple[bytes, bytes]]:
    """Made anew: nothing of the caller's credentials, cookies or organisation goes up; `more` is what its endpoint
    allows of the caller's own. `kind`: of the body that goes up; `accepts`: of an answer that is no stream."""
    made = [
        (b"content-type", kind),
        (b"accept", b"text/event-stream" if stream else accepts),
        (b"accept-encoding", b"identity"),
        (b"x-request-id", attempt_id.encode()),
        *more,
    ]
    if (shown := passing_header(upstream)) is not None:
        made.append(shown)
    return made


def body(
    fields: Mapping[str, Raw],
    name: str,
    *,
    stream: bool,
    want_usage: bool,
    removed: Iterable[str],
    defaults: Mapping[str, Raw] | None = None,
) -> bytes:
    """The request for the upstream's own model `name`: values keep the caller's bytes, `removed` fields are left out.

    `want_usage` asks for the usage frame of a stream, keeping the caller's other stream options but vLLM's
    `continuous_usage_stats`, which does nothing without it and would begin to. `defaults` fill in for fields that are
    null or not there.
    """
    sent = dict(fields)
    sent["model"] = Raw(msgspec.json.encode(name))
    for field in removed:
        sent.pop(field, None)
    for field, value in (defaults or {}).items():
        if bytes(sent.get(field, b"null")) == b"null":
            sent[field] = value
    if stream and want_usage:
        given = sent.get("stream_options")
        if given is None or bytes(given) == b"null":
            sent["stream_options"] = _INCLUDE_USAGE
        else:
            options = {**_fields.decode(given), "include_usage": Raw(b"true")}
            options.pop("continuous_usage_stats", None)
            sent["stream_options"] = Raw(msgspec.json.encode(options))
    return msgspec.json.encode(sent)


def usage_of(answer: bytes) -> Usage | None:
    """Usage of a complete answer; None where it has none or is not JSON."""
    try:
        return usage_in(_answer.decode(answer).usage)
    except ODD_JSON:
        return None


def read_frame(data: bytes) -> Note:
    """What one chunk of a stream says. Usage is alone where the chunk has no choices."""
    if data == _DONE:
        return Note(end=True)
    if data.startswith(_ERROR):
        return Note(failed=True)
    try:
        chunk = _chunk.decode(data)
    except ODD_JSON:
        return Note()
    return Note(usage_in(chunk.usage), alone=not chunk.choices)


def reader() -> Reader:
    """A chunk's usage is that of the whole stream: nothing is remembered."""
    return read_frame


def error_body(error: GatewayError, _: str) -> bytes:
    shown = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    return msgspec.json.encode({"error": shown})


def error_event(error: GatewayError, request_id: str, _: bytes) -> bytes:
    return b"data: " + error_body(error, request_id) + b"\n\n"


def without_usage(data: bytes) -> bytes:
    """A chunk that tells usage beside its content, as it would be without; all else keeps its bytes."""
    fields = _fields.decode(data)
    fields.pop("usage", None)
    return msgspec.json.encode(fields)


def usage_in(found: Any) -> Usage | None:
    """Of the API's `usage` object; None where there is none. Every detail may be missing: workers leave them out."""
    if not isinstance(found, dict):
        return None
    figures = Figures()
    prompt, output = figures.count(found.get("prompt_tokens")), figures.count(found.get("completion_tokens"))
    total = found.get("total_tokens")
    if not prompt and type(total) is int and found.get("prompt_tokens") is None:
        prompt = figures.count(total - output)  # embedding servers that tell the sum alone
    read, made = nested(found, "prompt_tokens_details"), nested(found, "completion_tokens_details")
    thought = figures.count(made.get("reasoning_tokens")) or _untold(found, total)
    if not read and not made:
        return Usage(prompt, output + thought, reasoning_tokens=thought, absurd=figures.odd)
    if thought and total == prompt + output + thought:
        output += thought  # xAI's, and Google's: the sum alone says that they come on top
    parts = prompt_parts(figures, read, prompt, read.get("cache_write_tokens"))
    sound = figures.part(made.get("audio_tokens"), output)
    return Usage(
        prompt,
        output,
        parts.cached,
        cache_write_tokens=parts.written,
        reasoning_tokens=figures.part(thought, output),
        input_audio_tokens=parts.sound,
        output_audio_tokens=sound,
        input_image_tokens=parts.pictures,
        output_image_tokens=figures.part(made.get("image_tokens"), output - sound),
        cached_audio_tokens=parts.cached_sound,
        cached_image_tokens=parts.cached_pictures,
        absurd=figures.odd,
    )


def _untold(found: dict[str, Any], total: Any) -> int:
    """Tokens that the sum holds and neither part does: what Google's OpenAI-compatible endpoint makes of thoughts."""
    prompt, output = found.get("prompt_tokens"), found.get("completion_tokens")
    if type(total) is not int or type(prompt) is not int or type(output) is not int:
        return 0
    return max(0, total - prompt - output) if total <= MOST and prompt >= 0 and output >= 0 else 0


EVENTS = Events(reader, marks=(_DONE, b'"error"'), token=b"data:", without_usage=without_usage)
CHAT = Endpoint(
    name="chat/completions",
    prompt=("messages", "prompt", "tools", "response_format"),
    media=words(*ADDRESSED, "input_audio", "file"),
    caps=("max_completion_tokens", "max_tokens"),
    cap="max_completion_tokens",
    asks_usage=True,
    usage_of=usage_of,
    events=EVENTS,
    error_body=error_body,
    error_event=error_event,
)
COMPLETIONS = replace(CHAT, name="completions", ids="prompt", cap="max_tokens")
EMBEDDINGS = replace(
    CHAT, name="embeddings", prompt=("input",), ids="input", caps=(), cap=None, streams=False, asks_usage=False
)
