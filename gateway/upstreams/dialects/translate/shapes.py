"""What both APIs' requests and answers look like, as far as translating needs it; fields that it does not need are
left out. Reading raises InvalidRequest (a caller's words) or BadAnswer (an upstream's)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from gateway.errors import BadAnswer, InvalidRequest
from gateway.upstreams.dialects.figures import ODD_JSON

T = TypeVar("T")
NULL = b"null"
EMPTY_OBJECT = Raw(b"{}")
OBJECT = msgspec.json.Decoder(dict[str, Raw])


class ImageUrl(msgspec.Struct):
    url: str


class File(msgspec.Struct):
    file_data: str | None = None
    filename: str | None = None


class Part(msgspec.Struct):
    """A piece of a chat message's content."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | str | None = None
    file: File | None = None


class Function(msgspec.Struct):
    name: str
    arguments: str = ""


class ToolCall(msgspec.Struct):
    id: str = ""
    type: str = "function"
    function: Function | None = None


class ChatMessage(msgspec.Struct):
    role: str
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    audio: Any = None
    function_call: Any = None


class Source(msgspec.Struct):
    """Where the bytes of a picture or a document are."""

    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None


class Block(msgspec.Struct):
    """A content block of Anthropic's: a request's or an answer's."""

    type: str
    text: str = ""
    thinking: str = ""
    source: Source | None = None
    title: str | None = None
    id: str = ""
    name: str = ""
    input: Raw = EMPTY_OBJECT
    tool_use_id: str = ""
    content: str | list[Block] | None = None
    is_error: bool | None = None


class Message(msgspec.Struct):
    """One turn."""

    role: str
    content: str | list[Block]


_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {}


def given(fields: Mapping[str, Raw], name: str, shape: type[T]) -> T | None:
    """The value of a caller's field; None where it is null or not there. Raises InvalidRequest, which says where the
    value is not as its API has it and never what it is."""
    value = fields.get(name)
    if value is None or bytes(value) == NULL:
        return None
    decoder = _DECODERS.get(shape)
    if decoder is None:
        decoder = _DECODERS[shape] = msgspec.json.Decoder(shape)
    try:
        found: T = decoder.decode(value)
        return found
    except (*ODD_JSON, msgspec.ValidationError) as fault:
        raise InvalidRequest(f"`{name}` is not as the API has it: {fault}", param=name) from None


def told(decoder: msgspec.json.Decoder[T], answer: bytes) -> T:
    """What an upstream said. Raises BadAnswer."""
    try:
        return decoder.decode(answer)
    except ODD_JSON:
        raise BadAnswer("answered with something that cannot be translated") from None


def words(value: Raw) -> str:
    """The JSON of a part of an answer. Raises BadAnswer: what is only passed over is not looked at for its encoding."""
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        raise BadAnswer("answered with something that is not UTF-8") from None


def raw(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))


def cannot(param: str, what: str) -> InvalidRequest:
    """For what has no counterpart: never clamped, never left out in silence."""
    return InvalidRequest(f"`{param}`: {what}", param=param)
