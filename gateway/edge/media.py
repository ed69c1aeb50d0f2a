"""A request for pictures or speech, read: JSON or a form, the pictures that it sends along checked, before anybody is
asked. What routing sees of it is `GenRequest.media`; what goes up beside the fields is `Body.pictures`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import msgspec
from msgspec import Raw

from gateway.edge import body as bodies
from gateway.edge.calls import Call
from gateway.edge.gathering import Gathering, beside, is_address, swapped, texts_of
from gateway.edge.picture_form import Form, parse
from gateway.errors import InvalidRequest
from gateway.model import MediaAsk
from gateway.upstreams.dialects.endpoint import Endpoint
from gateway.upstreams.dialects.media_endpoints import PICTURE_FIELDS, ROLES
from gateway.upstreams.dialects.ordering import Picture

Stays = Callable[[bodies.Body], bool]
"""Whether a demand is on the data of a request whose pictures are counted, and not had yet."""
_any = msgspec.json.Decoder()


async def decode(
    call: Call, raw: bytes, endpoint: Endpoint, gathering: Gathering, stays: Stays = lambda _: False
) -> bodies.Body:
    """`stays` is asked before anybody goes to an address. Raises InvalidRequest, naming the parameter that is wrong,
    and what `stays` does; its text never quotes the body."""
    kind = call.headers.get(b"content-type", b"")
    is_form = bodies.kind_of(call) == bodies.FORM_TYPE
    form = await beside(len(raw), lambda: parse(kind, raw) if is_form else Form(bodies.object_of(raw), ()))
    if gathering.fetching is not None and any(is_address(text) for _, text in _texts(form)):
        gathering = replace(gathering, stays=stays(_rehearsed(form, raw, endpoint)))
    return await read_form(form, raw, endpoint, gathering)


async def read_form(form: Form, raw: bytes, endpoint: Endpoint, gathering: Gathering) -> bodies.Body:
    """The same of what was taken apart before."""
    body, ask = _read(form, raw, endpoint)
    pictures, fields = await _given(form, endpoint, gathering)
    masks = sum(one.role == "mask" for one in pictures)
    ask = _counted(ask, len(pictures) - masks, masks, endpoint)
    return _whole(body, ask, fields, endpoint)._replace(
        text_only=not pictures, pictures=tuple(pictures), files=form.files
    )


def rehearsed(raw: bytes, endpoint: Endpoint) -> bodies.Body:
    """As `decode` of JSON that is decided and goes nowhere: its pictures are counted, not looked at."""
    return _rehearsed(Form(bodies.object_of(raw), ()), raw, endpoint)


def _texts(form: Form) -> Iterator[tuple[str, str]]:
    """Its pictures that are texts, with the field of each."""
    for name in (one for one in form.fields if one in PICTURE_FIELDS):
        for text in texts_of(_value(form.fields, name), name):
            yield name, text


def _rehearsed(form: Form, raw: bytes, endpoint: Endpoint) -> bodies.Body:
    body, ask = _read(form, raw, endpoint)
    given = Counter(ROLES.get(name, "image") for name, _ in (*_texts(form), *form.files))
    ask = _counted(ask, given.total() - given["mask"], given["mask"], endpoint)
    return _whole(body, ask, form.fields, endpoint)._replace(text_only=not given)


def _read(form: Form, raw: bytes, endpoint: Endpoint) -> tuple[bodies.Body, MediaAsk]:
    """All but its pictures."""
    body = bodies.routed(raw, form.fields, endpoint)
    asks = endpoint.asks
    assert asks is not None  # noqa: S101 - else it is text
    return body, asks(form.fields)


def _whole(body: bodies.Body, ask: MediaAsk, fields: Mapping[str, Raw], endpoint: Endpoint) -> bodies.Body:
    return body._replace(
        fields=fields,
        stream=body.stream if endpoint.asks_stream is None else endpoint.asks_stream(fields),
        choices=ask.n,
        prompts=1,
        media=ask,
    )


async def _given(form: Form, endpoint: Endpoint, gathering: Gathering) -> tuple[list[Picture], dict[str, Raw]]:
    """The pictures, and the fields as they go up: an address that was fetched is replaced by what was there, so that
    nobody after us goes to it."""
    pictures, fields, most = [], dict(form.fields), endpoint.pictures[1]
    for name, data in form.files:
        if name not in PICTURE_FIELDS:
            raise InvalidRequest(f"`{name}` is a file; pictures are sent as `image`, `image[]` or `mask`", param=name)
        pictures.append(await gathering.checked(name, data))
    for name in [one for one in fields if one in PICTURE_FIELDS] if most else ():
        value = _value(fields, name)
        fetched: dict[str, Picture] = {}
        for text in texts_of(value, name):
            if len(pictures) > most + 1:
                break  # too many, which is told when they are counted
            pictures.append(await gathering.of_text(name, text))
            if is_address(text):
                fetched[text] = pictures[-1]
        if fetched:
            fields[name] = Raw(msgspec.json.encode(swapped(value, fetched)))
    return pictures, fields


def _value(fields: Mapping[str, Raw], name: str) -> Any:
    try:
        return _any.decode(fields[name])
    except (msgspec.DecodeError, RecursionError):
        raise InvalidRequest(f"`{name}` is not valid JSON", param=name) from None


def _counted(ask: MediaAsk, images: int, masks: int, endpoint: Endpoint) -> MediaAsk:
    (least, most), name = endpoint.pictures, endpoint.picture
    if images < least:
        raise InvalidRequest(f"`{name}` is missing", param=name)
    if images > most:
        raise InvalidRequest(f"`{name}`: at most {most} pictures are taken", param=name)
    if masks > 1:
        raise InvalidRequest("`mask`: at most one is taken", param="mask")
    return replace(ask, inputs=images, mask=masks > 0)
