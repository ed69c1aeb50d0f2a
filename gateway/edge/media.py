"""A request for pictures or speech, read: JSON or a form, the pictures that it sends along checked, before anybody is
asked. What routing sees of it is `GenRequest.media`; what goes up beside the fields is `Body.pictures`."""

from __future__ import annotations

import asyncio
import binascii
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from gateway.edge import body as bodies
from gateway.edge.calls import Call
from gateway.edge.picture_form import Form, parse
from gateway.edge.pictures import NotAPicture, look
from gateway.errors import InvalidRequest, UpstreamFault
from gateway.model import MediaAsk
from gateway.settings import Settings
from gateway.upstreams.client import TooLong
from gateway.upstreams.dialects.endpoint import Endpoint
from gateway.upstreams.dialects.media_endpoints import PICTURE_FIELDS, ROLES
from gateway.upstreams.dialects.ordering import Picture
from gateway.upstreams.fetch import FetchRefused, fetch

THREADED = 256 << 10
"""From so many bytes on a body is taken apart beside the event loop: it takes up to 100 ms."""
FETCH_SECONDS = 20.0
_MOST_DEEP = 4
_URLS = ("http://", "https://")
_LONGEST_SCHEME = 8
_DATA, _BASE64 = "data:", ";base64,"
_KEYS = ("image_url", "url", "b64_json", "data")
"""Of an object that stands for a picture."""
T = TypeVar("T")

_any = msgspec.json.Decoder()


async def decode(call: Call, raw: bytes, endpoint: Endpoint, settings: Settings) -> bodies.Body:
    """Raises InvalidRequest, naming the parameter that is wrong; its text never quotes the body."""
    kind = bodies.kind_of(call)
    return await read_form(await _beside(len(raw), lambda: _form(kind, call, raw)), raw, endpoint, settings)


async def read_form(form: Form, raw: bytes, endpoint: Endpoint, settings: Settings) -> bodies.Body:
    """The same of what was taken apart before."""
    body = bodies.routed(raw, form.fields, endpoint)
    asks = endpoint.asks
    assert asks is not None  # noqa: S101 - else it is text
    ask = asks(form.fields)
    pictures, fields = await _given(form, endpoint, settings)
    ask = _counted(ask, pictures, endpoint)
    stream = body.stream if endpoint.asks_stream is None else endpoint.asks_stream(fields)
    return body._replace(
        fields=fields,
        stream=stream,
        choices=ask.n,
        text_only=not pictures,
        media=ask,
        pictures=tuple(pictures),
        files=form.files,
    )


def _form(kind: bytes, call: Call, raw: bytes) -> Form:
    if kind != bodies.FORM_TYPE:
        return Form(bodies.object_of(raw), ())
    return parse(call.headers.get(b"content-type", b""), raw)


async def _beside(size: int, work: Callable[[], T]) -> T:
    return work() if size < THREADED else await asyncio.to_thread(work)


async def _given(form: Form, endpoint: Endpoint, settings: Settings) -> tuple[list[Picture], dict[str, Raw]]:
    """The pictures, and the fields as they go up: an address that was fetched is replaced by what was there, so that
    nobody after us goes to it."""
    pictures, fields, most = [], dict(form.fields), endpoint.pictures[1]
    for name, data in form.files:
        if name not in PICTURE_FIELDS:
            raise InvalidRequest(f"`{name}` is a file; pictures are sent as `image`, `image[]` or `mask`", param=name)
        pictures.append(await _checked(name, data, settings))
    for name in [one for one in fields if one in PICTURE_FIELDS] if most else ():
        value = _value(fields, name)
        fetched: dict[str, Picture] = {}
        for text in texts_of(value, name):
            if len(pictures) > most + 1:
                break  # too many, which is told when they are counted
            picture = await _checked(name, await _bytes_of(text, name, settings), settings)
            if _is_address(text):
                fetched[text] = picture
            pictures.append(picture)
        if fetched:
            fields[name] = Raw(msgspec.json.encode(_swapped(value, fetched)))
    return pictures, fields


def _is_address(text: str) -> bool:
    return text[:_LONGEST_SCHEME].lower().startswith(_URLS)


def _value(fields: Mapping[str, Raw], name: str) -> Any:
    try:
        return _any.decode(fields[name])
    except (msgspec.DecodeError, RecursionError):
        raise InvalidRequest(f"`{name}` is not valid JSON", param=name) from None


def texts_of(value: Any, name: str, deep: int = 0) -> Iterator[str]:
    """The pictures of a field: texts (base64, or addresses), objects that have one, lists of these. Raises
    InvalidRequest."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and deep < _MOST_DEEP:
        for one in value:
            yield from texts_of(one, name, deep + 1)
    elif isinstance(value, dict) and "file_id" in value:
        raise InvalidRequest(f"`{name}`: this gateway keeps no files; send the picture itself", param=name)
    elif isinstance(value, dict) and deep < _MOST_DEEP and any(key in value for key in _KEYS):
        for key in _KEYS:
            if key in value:
                yield from texts_of(value[key], name, deep + 1)
    elif value is not None:
        raise InvalidRequest(f"`{name}` must be a picture: base64, or a data URL", param=name)


def _swapped(value: Any, fetched: Mapping[str, Picture]) -> Any:
    """With a data URL for each address."""
    if isinstance(value, str):
        return _data_url(fetched[value]) if value in fetched else value
    if isinstance(value, list):
        return [_swapped(one, fetched) for one in value]
    if isinstance(value, dict):
        return {key: _swapped(one, fetched) if key in _KEYS else one for key, one in value.items()}
    return value


def _data_url(picture: Picture) -> str:
    return f"{_DATA}{picture.media_type}{_BASE64}{binascii.b2a_base64(picture.data, newline=False).decode()}"


async def _bytes_of(text: str, name: str, settings: Settings) -> bytes:
    if _is_address(text):
        return await _fetched(text, name, settings)
    if text[: len(_DATA)].lower() == _DATA:
        _, mark, text = text.partition(_BASE64)
        if not mark:
            raise InvalidRequest(f"`{name}`: a data URL must be in base64", param=name)
    try:
        return await _beside(len(text), lambda: b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        raise InvalidRequest(f"`{name}` must be a picture: base64, or a data URL", param=name) from None


async def _fetched(url: str, name: str, settings: Settings) -> bytes:
    """By ourselves, guarded. Raises InvalidRequest where this gateway does not, or it cannot be had."""
    if settings.image_urls != "fetch":
        raise InvalidRequest(f"`{name}` is an address; send the picture itself, as a data URL or a file", param=name)
    try:
        return (await fetch(url, hosts=None, most=settings.max_body_bytes, seconds=FETCH_SECONDS)).data
    except TooLong:
        raise InvalidRequest(
            f"`{name}`: the picture has more than {settings.max_body_bytes} bytes", param=name
        ) from None
    except FetchRefused as fault:
        raise InvalidRequest(f"`{name}`: this address is not fetched: {fault.message}", param=name) from None
    except UpstreamFault:
        raise InvalidRequest(f"`{name}`: the picture could not be fetched from its address", param=name) from None


async def _checked(name: str, data: bytes, settings: Settings) -> Picture:
    try:
        seen = await _beside(len(data), lambda: look(data, settings.image_pixels))
    except NotAPicture as fault:
        raise InvalidRequest(f"`{name}` {fault}", param=name) from None
    return Picture(data=data, media_type=seen.media_type, role=ROLES.get(name, "image"))


def _counted(ask: MediaAsk, pictures: list[Picture], endpoint: Endpoint) -> MediaAsk:
    masks = sum(one.role == "mask" for one in pictures)
    images, (least, most), name = len(pictures) - masks, endpoint.pictures, endpoint.picture
    if images < least:
        raise InvalidRequest(f"`{name}` is missing", param=name)
    if images > most:
        raise InvalidRequest(f"`{name}`: at most {most} pictures are taken", param=name)
    if masks > 1:
        raise InvalidRequest("`mask`: at most one is taken", param="mask")
    return replace(ask, inputs=images, mask=masks > 0)
