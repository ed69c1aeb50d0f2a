"""Reads a request body once and decodes only what routing needs; the rest stays as the caller's bytes."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Collection, Generator, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar, cast

import msgspec
from msgspec import Raw

from gateway.edge.calls import Call
from gateway.edge.picture_form import File
from gateway.edge.replies import Receive
from gateway.errors import InvalidRequest, RequestTooLarge, ResidencyUnknown, UnsupportedMedia
from gateway.model import MediaAsk
from gateway.routing.affinity import beginnings
from gateway.routing.fields import NEUTRAL, changes_something
from gateway.routing.learn import BYTES_PER_TOKEN
from gateway.upstreams.dialects.endpoint import Endpoint
from gateway.upstreams.dialects.openai import CHAT
from gateway.upstreams.dialects.ordering import Picture

STATE_FIELDS = ("previous_response_id", "conversation")
"""State that one upstream holds; refused until it can be routed to its holder."""
JSON_TYPE, FORM_TYPE = b"application/json", b"multipart/form-data"
RESIDENCY = "metadata.data_residency"
MAX_CHOICES = 128
MAX_PROMPTS = 2048
MAX_TOKENS = 2**31 - 1
_IDS = re.compile(rb"\[\s*(\[\s*)?[0-9]")
"""How a list of token ids, or of such lists, begins."""
_WALKED_PER_QUOTE = 4096
"""Bytes of body for each quote that is looked at alone. memchr leaps over text without quotes 10 times as fast as a
pattern is searched; a quote looked at alone costs as much as searching 1 KB, so at most a quarter is lost."""
_ESCAPED = re.compile(rb"\\u00([2-7][0-9a-fA-F])")
T = TypeVar("T")


class ClientLeft(Exception):
    """The caller closed the connection before its request was whole."""


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


_object = msgspec.json.Decoder(dict[str, Raw])
_any = msgspec.json.Decoder()
_text = msgspec.json.Decoder(str)
_flag = msgspec.json.Decoder(bool | None)
_number = msgspec.json.Decoder(int | None)
_stream_options = msgspec.json.Decoder(_StreamOptions | None)
_STATE = frozenset({*STATE_FIELDS, "background"})
_KNOWN = frozenset(NEUTRAL)
_BEHIND = "trailing characters"
_FLAW = re.compile(r"JSON is malformed: (.+) \(byte (\d+)\)")


class Body(NamedTuple):
    """`fields` maps each top-level key to the caller's own bytes for it (the last one where a key is repeated)."""

    raw: bytes
    fields: Mapping[str, Raw]
    model: str
    stream: bool
    include_usage: bool
    max_tokens: int | None
    choices: int
    prompts: int
    text_only: bool
    prompt_bytes: int
    known: tuple[str, ...]
    residency: str | None = None
    """`metadata.data_residency`, as the caller wrote it."""
    media: MediaAsk | None = None
    pictures: tuple[Picture, ...] = ()
    """Those that came with it, checked."""
    files: tuple[File, ...] = ()
    """Of a form, as they came: `pictures` has them too, but not what its fields are called."""

    def __repr__(self) -> str:
        return f"Body({len(self.raw)} bytes)"


def kind_of(call: Call) -> bytes:
    return call.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()


async def read(call: Call, receive: Receive, most: int, seconds: float, *, forms: bool = False) -> bytes:
    """The whole body. `forms`: it may be a form. Raises RequestTooLarge, UnsupportedMedia, InvalidRequest (too slow) or
    ClientLeft."""
    kind = kind_of(call)
    if kind != JSON_TYPE and not (forms and kind == FORM_TYPE):
        also = f" or `{FORM_TYPE.decode()}`" if forms else ""
        raise UnsupportedMedia(f"send the body as `Content-Type: application/json`{also}", param="Content-Type")
    if call.headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise UnsupportedMedia("compressed request bodies are not supported", param="Content-Encoding")
    if int(call.headers.get(b"content-length", b"0")) > most:
        raise RequestTooLarge(f"the body may have at most {most} bytes")
    began = time.monotonic()
    first = await receive_within(receive, seconds)
    if not first.get("more_body", False) and first["type"] == "http.request":
        body: bytes = first.get("body", b"")
        if len(body) > most:
            raise RequestTooLarge(f"the body may have at most {most} bytes")
        return body
    return await _rest(first, receive, most, seconds, began)


async def _rest(message: MutableMapping[str, Any], receive: Receive, most: int, seconds: float, began: float) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(began + seconds - time.monotonic()):
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
    """The next message, within so many seconds. One that is already there costs no timer, which costs more than it."""
    asked = receive().__await__()
    try:
        waits_for = next(asked)
    except StopIteration as answered:
        return cast(MutableMapping[str, Any], answered.value)
    try:
        async with asyncio.timeout(seconds):
            return await _Begun(asked, waits_for)
    except TimeoutError:
        raise InvalidRequest(f"the body did not arrive within {seconds:g} s") from None


class _Begun:
    """Goes on with an awaitable that has run up to its first wait: what it waits for is handed to the task now."""

    def __init__(self, asked: Generator[Any, Any, MutableMapping[str, Any]], waits_for: Any) -> None:
        self._asked, self._waits_for = asked, waits_for

    def __await__(self) -> Generator[Any, Any, MutableMapping[str, Any]]:
        try:
            yield self._waits_for
        except BaseException:
            self._asked.close()  # cancelled while it waits: `receive` ends as it does when its task is cancelled
            raise
        return (yield from self._asked)


def decode(raw: bytes, endpoint: Endpoint = CHAT) -> Body:
    """The routing fields of a request to `endpoint`. Raises InvalidRequest; its text never quotes the body."""
    return routed(raw, object_of(raw), endpoint)


def routed(raw: bytes, fields: Mapping[str, Raw], endpoint: Endpoint) -> Body:
    """The same of fields that were taken apart already, by whatever rules: those of media are read in `media.py`."""
    model = _get(fields, "model", _text, "a string")
    if model is None:
        raise InvalidRequest("`model` is missing", param="model")
    for name in endpoint.needs:
        if bytes(fields.get(name, b"null")) == b"null":
            raise InvalidRequest(f"`{name}` is missing", param=name)
    if not _STATE.isdisjoint(fields):
        refuse_state(fields, jobs=endpoint.jobs != "never")
    options = _get(fields, "stream_options", _stream_options, "an object")
    stream = _get(fields, "stream", _flag, "true or false") if endpoint.streams else None
    return Body(
        raw,
        fields,
        model,
        stream=stream is True,
        include_usage=options is not None and options.include_usage is True,
        max_tokens=max_tokens(fields, endpoint.caps),
        choices=choices(fields),
        prompts=prompts(fields),
        text_only=endpoint.asks is not None or not holds(unescaped(raw), endpoint.media),
        prompt_bytes=prompt_bytes(fields, endpoint),
        known=() if _KNOWN.isdisjoint(fields) else known(fields, endpoint.plain),
        residency=residency(fields) if "metadata" in fields else None,
    )


def object_of(raw: bytes) -> dict[str, Raw]:
    """Values are only skipped over, so that their bytes are UTF-8 is looked at apart."""
    try:
        if not raw.isascii():
            raw.decode()
        return _object.decode(raw)
    except UnicodeDecodeError as fault:
        raise InvalidRequest(f"the body is not valid UTF-8 (byte {fault.start})") from None
    except msgspec.ValidationError:
        raise InvalidRequest("the body must be a JSON object") from None
    except msgspec.DecodeError as fault:
        raise InvalidRequest(f"the body is not valid JSON: {flaw(raw, str(fault))}") from None
    except RecursionError:
        raise InvalidRequest("the body is nested too deeply") from None


def flaw(raw: bytes, told: str) -> str:
    """What msgspec says is wrong with UTF-8 text, and where, in lines and characters; never the text itself."""
    found = _FLAW.fullmatch(told)
    what, at = (found[1], int(found[2])) if found else ("it ends too early", len(raw))
    if what == _BEHIND:
        at -= 1  # msgspec tells the byte after the first of them
    line = raw.count(b"\n", 0, at) + 1
    column = len(raw[raw.rfind(b"\n", 0, at) + 1 : at].decode(errors="ignore")) + 1
    return f"{what} (line {line}, column {column})"


def refuse_state(fields: Mapping[str, Raw], *, jobs: bool = False) -> None:
    for name in STATE_FIELDS:
        if name in fields and _value(fields, name) is not None:
            raise InvalidRequest(f"`{name}` is not supported by this gateway: send the whole conversation", param=name)
    if not jobs and "background" in fields and _value(fields, "background") is True:
        raise InvalidRequest("`background: true` is not supported by this gateway", param="background")


def in_background(body: Body) -> bool:
    """Whether its caller does not wait for it. OpenAI's own `background` of a picture is a word."""
    return bytes(body.fields.get("background", b"")) == b"true"


def residency(fields: Mapping[str, Raw]) -> str | None:
    """What `metadata.data_residency` says; None where it is absent or null. The rest of `metadata` is the upstream's
    affair. Raises ResidencyUnknown where it is no text: a demand that is not understood is refused."""
    try:
        said = _object.decode(fields["metadata"]).get("data_residency")
    except msgspec.ValidationError:
        return None  # no object, so there is no such key
    except msgspec.DecodeError:
        raise InvalidRequest("`metadata` is not valid JSON", param="metadata") from None
    if said is None or bytes(said) == b"null":
        return None
    try:
        return _text.decode(said)
    except msgspec.DecodeError:
        raise ResidencyUnknown(f"{RESIDENCY}: must be text: `local` or zone names", param=RESIDENCY) from None


class Glimpse(NamedTuple):
    """What a body that is refused says all the same. `spoke`: of residency, understood or not."""

    model: str | None = None
    residency: str | None = None
    spoke: bool = False


def glimpse(raw: bytes) -> Glimpse:
    """As much as can be read."""
    try:
        fields = object_of(raw)
    except InvalidRequest:
        return Glimpse()
    return glimpse_of(fields)


def glimpse_of(fields: Mapping[str, Raw]) -> Glimpse:
    model = None
    with suppress(InvalidRequest):
        model = _get(fields, "model", _text, "a string")
    try:
        said = residency(fields) if "metadata" in fields else None
    except ResidencyUnknown:
        return Glimpse(model, None, True)
    except InvalidRequest:
        return Glimpse(model)
    return Glimpse(model, said, said is not None)


def known(fields: Mapping[str, Raw], plain: Collection[str] = ()) -> tuple[str, ...]:
    """But for those of `plain`."""
    found = [name for name in NEUTRAL if name in fields and name not in plain]
    return tuple(name for name in found if changes_something(name, _value(fields, name)))


def holds(raw: bytes, words: re.Pattern[bytes]) -> bool:
    """Whether one of the words, which all begin with a quote, is in the body."""
    at = -1
    for _ in range(len(raw) // _WALKED_PER_QUOTE):
        at = raw.find(b'"', at + 1)
        if at < 0:
            return False
        if words.match(raw, at) is not None:
            return True
    return words.search(raw, at + 1) is not None


def unescaped(raw: bytes) -> bytes:
    """With the printable ASCII that is written as `\\u00..` as itself: a word may be spelt so, and means the same."""
    if b"\\u00" not in raw:
        return raw
    return _ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), raw)


def prompt_bytes(fields: Mapping[str, Raw], endpoint: Endpoint) -> int:
    """What the model reads, in bytes; token ids count as many bytes as they stand for."""
    size = 0
    for name in endpoint.prompt:
        if name in fields:
            size += len(memoryview(fields[name]))
    if endpoint.ids is not None and endpoint.ids in fields and _IDS.match(memoryview(fields[endpoint.ids])):
        ids = bytes(fields[endpoint.ids])
        size += round((ids.count(b",") + 1) * BYTES_PER_TOKEN) - len(ids)
    return size


def begins(fields: Mapping[str, Raw], endpoint: Endpoint, scope: bytes) -> tuple[int, ...]:
    """Hashes of what the model reads first; none where that is too short for caches to hold. `scope`: its tenant's."""
    return beginnings((memoryview(fields[name]) for name in endpoint.prompt if name in fields), scope)


def max_tokens(fields: Mapping[str, Raw], caps: tuple[str, ...]) -> int | None:
    """The caller's cap on output tokens: the larger of its names, whichever of them the upstream obeys. 0 where there
    is no such name: nothing is written."""
    most: int | None = None if caps else 0
    for name in caps:
        value = _get(fields, name, _number, "a whole number")
        if value is not None:
            if not 1 <= value <= MAX_TOKENS:
                raise InvalidRequest(f"`{name}` must be 1 to {MAX_TOKENS}", param=name)
            most = max(most or 0, value)
    return most


def prompts(fields: Mapping[str, Raw]) -> int:
    """How many prompts a completion request carries: a list of texts or of token lists is one answer each."""
    if "prompt" not in fields or bytes(fields["prompt"])[:1] != b"[":
        return 1
    value = _value(fields, "prompt")
    if not isinstance(value, list) or not any(isinstance(each, str | list) for each in value):
        return 1
    if len(value) > MAX_PROMPTS:
        raise InvalidRequest(f"`prompt` may hold at most {MAX_PROMPTS} prompts", param="prompt")
    return len(value)


def choices(fields: Mapping[str, Raw]) -> int:
    """How many outputs the model writes for one request: the larger of `n` and `best_of`."""
    most = 1
    for name in ("n", "best_of"):
        value = _get(fields, name, _number, "a whole number")
        if value is not None:
            if not 1 <= value <= MAX_CHOICES:
                raise InvalidRequest(f"`{name}` must be 1 to {MAX_CHOICES}", param=name)
            most = max(most, value)
    return most


def _get(fields: Mapping[str, Raw], name: str, decoder: msgspec.json.Decoder[T], words: str) -> T | None:
    """None where the field is not there."""
    value = fields.get(name)
    if value is None:
        return None
    try:
        return decoder.decode(value)
    except msgspec.DecodeError:
        raise InvalidRequest(f"`{name}` must be {words}", param=name) from None


def _value(fields: Mapping[str, Raw], name: str) -> Any:
    try:
        return _any.decode(fields[name])
    except msgspec.DecodeError:
        raise InvalidRequest(f"`{name}` is not valid JSON", param=name) from None
