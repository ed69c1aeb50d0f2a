"""Reads a request body once and decodes only what routing needs; the rest stays as the caller's bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from gateway.edge.calls import Call
from gateway.edge.replies import Receive
from gateway.errors import InvalidRequest, RequestTooLarge, UnsupportedMedia
from gateway.routing.fields import NEUTRAL, changes_something

PROMPT_FIELDS = ("messages", "prompt", "tools", "response_format")
"""What the model reads: their bytes stand for the prompt's tokens."""
STATE_FIELDS = ("previous_response_id", "conversation")
"""State that one upstream holds; refused until it can be routed to its holder."""
MAX_CHOICES = 128
T = TypeVar("T")


class ClientLeft(Exception):
    """The caller closed the connection before its request was whole."""


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


_object = msgspec.json.Decoder(dict[str, Raw])
_any = msgspec.json.Decoder()
_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {
    t: msgspec.json.Decoder(t) for t in (str, bool | None, int | None, _StreamOptions | None)
}


@dataclass(frozen=True, slots=True)
class Body:
    """`fields` maps each top-level key to the caller's own bytes for it (the last one where a key is repeated)."""

    raw: bytes
    fields: Mapping[str, Raw]
    model: str
    stream: bool
    include_usage: bool
    max_tokens: int | None
    choices: int
    prompt_bytes: int
    known: tuple[str, ...]


async def read(call: Call, receive: Receive, most: int, seconds: float) -> bytes:
    """The whole body. Raises RequestTooLarge, UnsupportedMedia, InvalidRequest (too slow) or ClientLeft."""
    kind = call.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind != b"application/json":
        raise UnsupportedMedia("send the body as `Content-Type: application/json`", param="Content-Type")
    if call.headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise UnsupportedMedia("compressed request bodies are not supported", param="Content-Encoding")
    if int(call.headers.get(b"content-length", b"0")) > most:
        raise RequestTooLarge(f"the body may have at most {most} bytes")
    first = await receive_within(receive, seconds)
    if not first.get("more_body", False) and first["type"] == "http.request":
        body: bytes = first.get("body", b"")
        if len(body) > most:
            raise RequestTooLarge(f"the body may have at most {most} bytes")
        return body
    return await _rest(first, receive, most, seconds)


async def _rest(message: MutableMapping[str, Any], receive: Receive, most: int, seconds: float) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while True:
                if message["type"] == "http.disconnect":
                    raise ClientLeft
                body += message.get("body", b"")
                if len(body) > most:
                    raise RequestTooLarge(f"the body may have at most {most} bytes")
                if not message.get("more_body", False):
                    return bytes(body)
                message = await receive()
    except TimeoutError:
        raise InvalidRequest(f"the body did not arrive within {seconds:g} s") from None


async def receive_within(receive: Receive, seconds: float) -> MutableMapping[str, Any]:
    try:
        async with asyncio.timeout(seconds):
            return await receive()
    except TimeoutError:
        raise InvalidRequest(f"the body did not arrive within {seconds:g} s") from None


def decode(raw: bytes) -> Body:
    """The routing fields of a chat or completion request. Raises InvalidRequest; its text never quotes the body."""
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise InvalidRequest(f"the body is not valid UTF-8 (byte {fault.start})") from None
    try:
        fields = _object.decode(raw)
    except msgspec.ValidationError:
        raise InvalidRequest("the body must be a JSON object") from None
    except msgspec.DecodeError:
        raise InvalidRequest("the body is not valid JSON") from None
    except RecursionError:
        raise InvalidRequest("the body is nested too deeply") from None
    if "model" not in fields:
        raise InvalidRequest("`model` is missing", param="model")
    refuse_state(fields)
    options = _get(fields, "stream_options", _StreamOptions | None, "an object")
    return Body(
        raw=raw,
        fields=fields,
        model=_get(fields, "model", str, "a string"),
        stream=bool(_get(fields, "stream", bool | None, "true or false")),
        include_usage=bool(options.include_usage) if options is not None else False,
        max_tokens=max_tokens(fields),
        choices=choices(fields),
        prompt_bytes=sum(len(memoryview(fields[name])) for name in PROMPT_FIELDS if name in fields),
        known=tuple(name for name in NEUTRAL if name in fields and changes_something(name, _value(fields, name))),
    )


def refuse_state(fields: Mapping[str, Raw]) -> None:
    for name in STATE_FIELDS:
        if name in fields and _value(fields, name) is not None:
            raise InvalidRequest(f"`{name}` is not supported by this gateway: send the whole conversation", param=name)
    if "background" in fields and _value(fields, "background") is True:
        raise InvalidRequest("`background: true` is not supported by this gateway", param="background")


def max_tokens(fields: Mapping[str, Raw]) -> int | None:
    """The caller's cap on output tokens; the newer name wins, as it does at OpenAI."""
    for name in ("max_completion_tokens", "max_tokens"):
        value: int | None = _get(fields, name, int | None, "a whole number")
        if value is not None:
            if value < 1:
                raise InvalidRequest(f"`{name}` must be at least 1", param=name)
            return value
    return None


def choices(fields: Mapping[str, Raw]) -> int:
    """How many outputs the model writes for one request: the larger of `n` and `best_of`."""
    most = 1
    for name in ("n", "best_of"):
        value = _get(fields, name, int | None, "a whole number")
        if value is not None:
            if not 1 <= value <= MAX_CHOICES:
                raise InvalidRequest(f"`{name}` must be 1 to {MAX_CHOICES}", param=name)
            most = max(most, value)
    return most


def _get(fields: Mapping[str, Raw], name: str, kind: Any, words: str) -> Any:
    if name not in fields:
        return None
    try:
        return _DECODERS[kind].decode(fields[name])
    except msgspec.DecodeError:
        raise InvalidRequest(f"`{name}` must be {words}", param=name) from None


def _value(fields: Mapping[str, Raw], name: str) -> Any:
    try:
        return _any.decode(fields[name])
    except msgspec.DecodeError:
        raise InvalidRequest(f"`{name}` is not valid JSON", param=name) from None
