"""How an order becomes a provider's own body: by a table per family of models, never by code per model.

`Family.keys` says where each thing that is asked for lies in the body and how it is spelt there; `offers` say what can
be asked for at all. Whatever has neither is refused with 400, naming the caller's own parameter: an API that ignores
what it does not know would be paid for something else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple

import msgspec

from gateway.errors import InvalidRequest
from gateway.model import EndpointName, Offer
from gateway.upstreams.dialects.managed.offers import Row, hold
from gateway.upstreams.dialects.ordering import Order, PictureRole

_NAMES: Mapping[str, tuple[str, ...]] = {
    "ratio": ("aspect_ratio", "ratio"),
    "seconds": ("seconds", "duration"),
    "format": ("output_format", "response_format"),
    "steps": ("steps", "num_inference_steps"),
    "prompt": ("prompt", "input"),
    "picture": ("image", "image[]", "images", "input_reference"),
}
"""What we call it -> how callers may; the first one where none is found."""
Asked = Literal["prompt", "n", "size", "resolution", "ratio", "quality", "seconds", "fps", "steps", "format", "voice"]
SEED_BITS = 31
_HELD = frozenset(
    {"model", "prompt", "input", "n", "size", "resolution", "ratio", "aspect_ratio", "quality", "seconds", "duration"}
    | {"fps", "steps", "num_inference_steps", "voice", "image", "image[]", "images", "mask", "input_reference"}
    | {"output_format", "response_format", "stream", "partial_images"}
)
"""The caller's fields that `Order` holds in another form, or that are about how its answer is sent."""
_ABOUT = frozenset({"user", "metadata", "safety_identifier", "store", "service_tier", "stream_options"})
"""About the caller, not about the work: left out."""
_SAME: Mapping[str, frozenset[Any]] = {
    "background": frozenset({"auto", "opaque", True, False}),
    "moderation": frozenset({"auto"}),
    "stream_format": frozenset({"audio"}),
}
"""Fields that say nothing but what every API does anyway, at these values."""


def same(value: Any) -> Any:
    return value


def text(value: Any) -> str:
    """Of a number: as a whole one where it is."""
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def starred(size: str) -> str:
    """`1280x720` as `1280*720`; a word such as `2K` as it is."""
    return size.lower().replace("x", "*") if size[:1].isdigit() and "x" in size.lower() else size


def upper(value: str) -> str:
    return value.upper()


def passing(*names: str) -> dict[str, str]:
    """Fields that go up as they are, under their own names."""
    return {name: name for name in names}


class Key(NamedTuple):
    """A place in the body: names with dots between them; `[]` behind the last one appends to a list."""

    at: str
    shape: Callable[[Any], Any] = same


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Models that are asked alike."""

    models: tuple[str, ...]
    """Globs of their names at the provider."""
    offers: Mapping[EndpointName, Offer]
    keys: Mapping[Asked, Key]
    pictures: Mapping[PictureRole, Key] = field(default_factory=dict)
    """Given the whole `Picture`."""
    passes: Mapping[str, str] = field(default_factory=dict)
    """Field that only this API knows -> its place."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Place -> what is always said."""
    films: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Size -> the resolution and ratio that it is: for APIs that know only one of both forms."""
    seed: str | None = None
    """Where a number lies that is chosen at will: an order is found again by it."""


def family_of(families: tuple[Family, ...], order: Order) -> Family:
    """Raises InvalidRequest for a model that nobody knows, or that does something else."""
    for family in families:
        if any(fnmatchcase(order.model, glob) for glob in family.models):
            if order.endpoint not in family.offers:
                said = ", ".join(f"/v1/{name}" for name in sorted(family.offers))
                raise InvalidRequest(f"the model is not asked by /v1/{order.endpoint}, but by {said}", param="model")
            return family
    raise InvalidRequest("the gateway does not know how this model of its provider is asked", param="model")


def body_of(family: Family, order: Order) -> dict[str, Any]:
    """The order in the provider's words. Raises InvalidRequest."""
    if order.ask.quality == "auto":
        order = replace(order, ask=replace(order.ask, quality=None))
    hold((Row("*", family.offers[order.endpoint]),), order)
    made: dict[str, Any] = {}
    for at, value in family.fixed.items():
        put(made, at, value)
    for name, value in _asked(family, order):
        key = family.keys.get(name)
        if key is None:
            raise InvalidRequest(f"`{named(order, name)}` cannot be chosen with this model", param=named(order, name))
        put(made, key.at, key.shape(value))
    for picture in order.pictures:
        place = family.pictures.get(picture.role)
        if place is None:
            known, param = ", ".join(sorted(family.pictures)) or "none", named(order, "picture")
            raise InvalidRequest(f"a picture as {picture.role} is not taken by this model, only: {known}", param=param)
        put(made, place.at, place.shape(picture))
    for at, value in _passed(family, order):
        put(made, at, value)
    if family.seed is not None and order.mark and not _has(made, family.seed):
        put(made, family.seed, seed_of(order.mark))
    return made


def seed_of(mark: str) -> int:
    """A number of SEED_BITS bits that stands for this order: the first digits of its mark, which is hexadecimal, or of
    any other text its bytes."""
    try:
        bits = int(mark[:16], 16)
    except ValueError:
        bits = int.from_bytes(mark.encode()[:8], "big")
    return bits & ((1 << SEED_BITS) - 1)


def put(made: dict[str, Any], at: str, value: Any) -> None:
    """Sets the place `at`."""
    *path, last = at.split(".")
    for name in path:
        made = made.setdefault(name, {})
    if last.endswith("[]"):
        made.setdefault(last[:-2], []).append(value)
    else:
        made[last] = value


def _has(made: Mapping[str, Any], at: str) -> bool:
    *path, last = at.split(".")
    for name in path:
        made = made.get(name, {})
    return last in made


def named(order: Order, name: str) -> str:
    """The caller's own name for it."""
    names = _NAMES.get(name, (name,))
    return next((each for each in names if each in order.fields), names[0])


def _asked(family: Family, order: Order) -> Iterator[tuple[Asked, Any]]:
    """What the order says, each under its name; size, resolution and ratio in the form that the API knows."""
    ask = order.ask
    size, resolution, ratio = ask.size, ask.resolution, ask.ratio
    if size is not None and "size" not in family.keys and family.films:
        of_size, of_ratio = family.films[size]
        resolution, ratio, size = resolution or of_size, ratio or of_ratio, None
        ratio = ratio if "ratio" in family.keys else None  # as that of the picture
    elif size is None and (resolution or ratio) and "size" in family.keys and family.films:
        wanted = resolution or family.offers[order.endpoint].default_resolution
        fits = [s for s, film in family.films.items() if wanted in (None, film[0]) and ratio in (None, film[1])]
        if not fits:
            raise InvalidRequest(f"no size of this model is {wanted} at {ratio}", param=named(order, "resolution"))
        size, resolution, ratio = fits[0], None, None
    given: tuple[tuple[Asked, Any], ...] = (
        ("prompt", order.prompt or None),
        ("n", ask.n if ask.n != 1 else None),
        ("size", size),
        ("resolution", resolution),
        ("ratio", ratio),
        ("quality", ask.quality),
        ("seconds", ask.seconds),
        ("fps", ask.fps),
        ("steps", ask.steps),
        ("format", ask.format),
        ("voice", ask.voice),
    )
    return ((name, value) for name, value in given if value is not None)


def _passed(family: Family, order: Order) -> Iterator[tuple[str, Any]]:
    """The caller's own fields of this API alone. Raises InvalidRequest for one that nobody knows here."""
    for name, raw in order.fields.items():
        if name in family.passes:
            value = msgspec.json.decode(raw)
            if value is not None:
                yield family.passes[name], value
        elif name not in _HELD and name not in _ABOUT:
            value = msgspec.json.decode(raw)
            if value is None or (isinstance(value, str | bool) and value in _SAME.get(name, frozenset())):
                continue
            known = ", ".join(sorted(family.passes)) or "none"
            raise InvalidRequest(f"`{name}` is not known to this model; its own fields are: {known}", param=name)
