"""The OpenAI wire format, spoken by vLLM, SGLang, TensorRT-LLM and most bought APIs: requests out, usage back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw

from gateway.model import Upstream, Usage

RESPONSE_HEADERS = frozenset({b"content-type", b"cache-control"})
"""What comes down. The upstream's account, rate-limit and routing headers are ours to know, not the caller's."""
_INCLUDE_USAGE = Raw(b'{"include_usage":true}')


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _Answer(msgspec.Struct):
    usage: _Usage | None = None


class _Chunk(msgspec.Struct):
    choices: list[Raw] = msgspec.field(default_factory=list)
    usage: _Usage | None = None


_answer = msgspec.json.Decoder(_Answer)
_chunk = msgspec.json.Decoder(_Chunk)
_options = msgspec.json.Decoder(dict[str, Raw])


def target(upstream: Upstream, endpoint: str) -> str:
    """The request path. A worker's URL is its root; a bought API's URL already holds its version segment."""
    base = urlsplit(upstream.url).path.rstrip("/")
    if upstream.kind == "local" and not base.endswith("/v1"):
        base += "/v1"
    return f"{base}/{endpoint}"


def headers(upstream: Upstream, attempt_id: str, stream: bool, traceparent: str | None) -> list[tuple[bytes, bytes]]:
    """An allow-list made anew: nothing of the caller's credentials, cookies or organisation goes up."""
    made = [
        (b"content-type", b"application/json"),
        (b"accept", b"text/event-stream" if stream else b"application/json"),
        (b"accept-encoding", b"identity"),
        (b"x-request-id", attempt_id.encode()),
    ]
    if upstream.key is not None:
        made.append((b"authorization", b"Bearer " + upstream.key.encode()))
    if traceparent is not None:
        made.append((b"traceparent", traceparent.encode()))
    return made


def body(fields: Mapping[str, Raw], name: str, *, stream: bool, want_usage: bool, removed: Iterable[str]) -> bytes:
    """The request for the upstream's own model `name`: values keep the caller's bytes, `removed` fields are left out.

    `want_usage` asks for the usage frame of a stream, keeping the caller's other stream options.
    """
    sent = dict(fields)
    sent["model"] = Raw(msgspec.json.encode(name))
    for field in removed:
        sent.pop(field, None)
    if stream and want_usage:
        given = sent.get("stream_options")
        if given is None or bytes(given) == b"null":
            sent["stream_options"] = _INCLUDE_USAGE
        else:
            options = {**_options.decode(given), "include_usage": Raw(b"true")}
            sent["stream_options"] = Raw(msgspec.json.encode(options))
    return msgspec.json.encode(sent)


def usage_of(answer: bytes) -> Usage | None:
    """Usage of a complete answer; None where it has none or is not JSON."""
    try:
        return _usage(_answer.decode(answer).usage)
    except msgspec.DecodeError:
        return None


def usage_frame(data: bytes) -> tuple[Usage | None, bool]:
    """Usage in one stream chunk, and whether the chunk holds nothing else (no choices)."""
    try:
        chunk = _chunk.decode(data)
    except msgspec.DecodeError:
        return None, False
    return _usage(chunk.usage), not chunk.choices


def _usage(found: _Usage | None) -> Usage | None:
    if found is None:
        return None
    details = found.prompt_tokens_details
    cached = (details.cached_tokens or 0) if details is not None else 0
    return Usage(found.prompt_tokens, found.completion_tokens or 0, cached)
