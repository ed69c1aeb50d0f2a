"""What the files beside this one share: paths at an upstream, bodies as they go and come, the caller's own fields."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from gateway.errors import BadAnswer, InvalidRequest, Refused
from gateway.model import Upstream
from gateway.upstreams import answers
from gateway.upstreams.dialects.figures import ODD_JSON
from gateway.upstreams.dialects.ordering import Answer, Call, Order, Picture, PictureRole, Told

JSON = ((b"content-type", b"application/json"), (b"accept", b"application/json"))
LOOK = ((b"accept", b"application/json"),)
OPENAI_FIELDS = frozenset(
    {
        "model", "prompt", "input", "n", "size", "quality", "seconds", "response_format", "output_format", "voice",
        "image", "image[]", "images", "mask", "input_reference", "stream", "stream_format", "partial_images", "user",
        "metadata", "background", "moderation", "aspect_ratio", "ratio", "resolution", "fps", "speed", "instructions",
        "safety_identifier", "webhook", "style", "output_compression", "input_fidelity",
    }
)  # fmt: skip
"""What the gateway has read already, or what says nothing to another API: no such field goes up as it is."""
_OPENAI_PICTURES = ("background", "output_compression", "input_fidelity", "style")
_NO_CHANGE = ("auto", "opaque", True, False)
"""Values that ask for nothing; `background` is a switch of ours too."""
NO_MARK = "has no list of orders by a mark of ours"
_VERSION = re.compile(r"/v\d+(?:alpha|beta)?\d*(?:/openai)?\Z")
_HASH = re.compile(r"[\w.:@-]{1,256}\Z", re.ASCII)
_WORD = re.compile(r"\w{1,40}\Z", re.ASCII)


class AtOnce:
    """The rest of a dialect whose orders are answered as they are submitted: nothing is looked at, stopped or found."""

    def poll(self, upstream: Upstream, order: Order, ticket: str) -> Call:
        raise NotImplementedError("orders are answered at once")

    def polled(self, order: Order, ticket: str, answer: Answer) -> Told:
        raise NotImplementedError("orders are answered at once")

    def cancel(self, upstream: Upstream, order: Order, ticket: str) -> Call | None:
        return None

    def find(self, upstream: Upstream, order: Order) -> Call | None:
        return None

    def found(self, order: Order, answer: Answer) -> Told | None:
        raise NotImplementedError(f"this API {NO_MARK}")


def rooted(upstream: Upstream, path: str) -> str:
    """`path`, which begins with a version such as `/v1`, at the upstream's address: the address may end in one too."""
    return _VERSION.sub("", urlsplit(upstream.url).path.rstrip("/")) + path


def segment(text: str) -> str:
    """An id as one segment of a path. Raises BadAnswer where no API makes such ids."""
    if _HASH.match(text) is None or text in (".", ".."):
        raise BadAnswer("answered with an id that fits in no path")
    return quote(text, safe=":@")


def model_path(name: str) -> str:
    """A model's name of several segments, as part of a path."""
    return quote(name.strip("/"), safe="/:@")


def post(path: str, body: Mapping[str, Any]) -> Call:
    return Call("POST", path, JSON, msgspec.json.encode(body))


def look(path: str) -> Call:
    return Call("GET", path, LOOK, looks=True)


def read(answer: Answer) -> dict[str, Any]:
    """The JSON object of a success. Raises the Refused that any other status stands for, and BadAnswer."""
    if answer.status >= answers.REFUSED or answer.status < 200:
        raise answers.refusal(answer.status, list(answer.headers), answer.body)
    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any])
    except ODD_JSON:
        raise BadAnswer(f"answered {answer.status} without a JSON object") from None


def text_of(found: Mapping[str, Any], *names: str) -> str:
    """The first of these that is text and not empty; a number as text. Raises BadAnswer where there is none."""
    for name in names:
        said = found.get(name)
        if isinstance(said, str) and said:
            return said
        if type(said) is int:
            return str(said)
    raise BadAnswer(f"answered without `{names[0]}`")


def inner(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object in an object; empty where there is none."""
    said = found.get(name)
    return said if isinstance(said, dict) else {}


def failed(status: int, code: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> Told:
    """An order that ended badly for the reason `code`. Its text never holds what the provider wrote."""
    return Told(state="failed", fault=refused(status, code, headers))


def refused(status: int, code: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> Refused:
    """The fault that an API's own code stands for, judged by the same tables as any other."""
    body = msgspec.json.encode({"code": code})
    return answers.refusal(status, list(headers), body)


def code_word(code: str) -> str:
    """A provider's code, where it is one word; free text may hold a prompt."""
    return code if _WORD.match(code) else ""


# -- what the caller asks for ----------------------------------------------------------------------------------


def value(order: Order, name: str) -> Any:
    """One of the caller's own fields; None where it is null or not there. Raises InvalidRequest."""
    raw = order.fields.get(name)
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw)
    except ODD_JSON:
        raise InvalidRequest(f"{name} is not JSON", param=name) from None


def number(order: Order, name: str, least: float, most: float) -> float | None:
    """A number between these two, both included. Raises InvalidRequest."""
    said = value(order, name)
    if said is None:
        return None
    if isinstance(said, str):  # of a form
        said = _number(said)
    if type(said) not in (int, float) or not least <= said <= most:
        raise InvalidRequest(f"{name} must be a number from {least:g} to {most:g} for this model", param=name)
    return float(said)


def whole(number: float) -> int | float:
    """12 for 12.0, as JSON has it."""
    return int(number) if float(number).is_integer() else number


def own_fields(order: Order, reserved: Mapping[str, str], allowed: frozenset[str] | None = None) -> dict[str, Any]:
    """The caller's fields that only this API knows, as they are.

    `reserved` are names of this API that the gateway sets itself, each with the field of ours to use instead: sent past
    it, they would change what is made and what it costs without anybody having looked. `allowed`: all others are
    refused; None: all others pass. Raises InvalidRequest.
    """
    found: dict[str, Any] = {}
    for name in order.fields:
        if name in reserved:
            raise InvalidRequest(f"{name} is not taken from a request; use {reserved[name]}", param=name)
        if name in OPENAI_FIELDS:
            continue
        if allowed is not None and name not in allowed:
            raise InvalidRequest(f"{name} is unknown to this API; it knows {', '.join(sorted(allowed))}", param=name)
        said = value(order, name)
        if said is not None:
            found[name] = said
    return found


def cannot(order: Order, *names: str) -> None:
    """Raises InvalidRequest for the first of these fields that the caller sets: the API has nothing like it."""
    for name in names:
        if value(order, name) is not None:
            raise InvalidRequest(f"{name} cannot be said to this model", param=name)


def resolution_of(order: Order) -> str | None:
    """`resolution`, of pictures too, where the endpoint itself has no such word. Raises InvalidRequest."""
    said = order.ask.resolution or value(order, "resolution")
    if said is not None and not isinstance(said, str):
        raise InvalidRequest("resolution must be a text such as 1080p or 2K", param="resolution")
    return said


def of_openai_alone(order: Order, known: tuple[str, ...] = ()) -> dict[str, Any]:
    """What OpenAI's image models know beside the common: the `known` ones as they are. Raises InvalidRequest for any
    other one that would change what is made."""
    for name in _OPENAI_PICTURES:
        said = value(order, name)
        if name not in known and said is not None and said not in _NO_CHANGE:
            raise InvalidRequest(f"{name} cannot be said to this model", param=name)
    found = {name: value(order, name) for name in known}
    return {name: said for name, said in found.items() if said is not None}


def pictures(order: Order, *roles: PictureRole) -> list[Picture]:
    return [picture for picture in order.pictures if picture.role in roles]


def data_url(picture: Picture) -> str:
    return f"data:{picture.media_type};base64,{plain_base64(picture)}"


def plain_base64(picture: Picture) -> str:
    return base64.b64encode(picture.data).decode()


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
