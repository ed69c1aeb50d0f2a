"""What an API's models can do, as data, and the refusal of what they cannot: before anything is sent or paid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Generic, NamedTuple, TypeVar

from gateway.catalog.cards import offers
from gateway.errors import InvalidRequest
from gateway.model import EndpointName, MediaAsk, Offer
from gateway.upstreams.dialects.ordering import Order

T = TypeVar("T")
FILMS: frozenset[EndpointName] = frozenset({"videos"})
PICTURES: frozenset[EndpointName] = frozenset({"images/generations", "images/edits"})
SPEECH: frozenset[EndpointName] = frozenset({"audio/speech"})


class Row(NamedTuple, Generic[T]):
    """The first row whose glob matches a model's name at its API is the one that counts."""

    models: str
    says: T


Offers = tuple[Row[Offer], ...]


def rows_of(file: str, families: Mapping[str, str]) -> Offers:
    """Glob of models -> family on the catalogue's cards of that file, which say what it can do."""
    known = offers(file)
    return tuple(Row(models, known[family]) for models, family in families.items())


_ANYTHING = Offer()


def row_of(table: Iterable[Row[T]], model: str, otherwise: T) -> T:
    return next((row.says for row in table if fnmatchcase(model, row.models)), otherwise)


def hold(table: Offers, order: Order) -> Offer:
    """The offer of the order's model. Raises InvalidRequest, naming the caller's field and what is supported."""
    offer = row_of(table, order.model, _ANYTHING)
    speech = order.endpoint == "audio/speech"
    ask, prompt = order.ask, "input" if speech else "prompt"
    if bytes(order.fields.get("stream", b"")) == b"true":
        raise InvalidRequest("stream: this model's results come whole", param="stream")
    _endpoint(offer, order.endpoint)
    _count(offer, ask)
    _size(offer, ask)
    _one_of("resolution", ask.resolution, offer.resolutions)
    _one_of("aspect_ratio", ask.ratio, offer.ratios)
    _one_of("quality", ask.quality, offer.qualities)
    _one_of("response_format" if speech else "output_format", ask.format, offer.formats)
    _one_of("voice", ask.voice, offer.voices)
    _seconds(offer, ask)
    if offer.most_prompt is not None and len(order.prompt) > offer.most_prompt:
        raise InvalidRequest(f"{prompt} is longer than {offer.most_prompt} characters", param=prompt)
    _pictures(offer, order)
    return offer


def _endpoint(offer: Offer, endpoint: EndpointName) -> None:
    if offer.endpoints is not None and endpoint not in offer.endpoints:
        raise InvalidRequest(f"this model serves {', '.join(sorted(offer.endpoints))}, not {endpoint}", param="model")


def _one_of(param: str, said: str | None, offered: tuple[str, ...]) -> None:
    if said is not None and offered and said.lower() not in {one.lower() for one in offered}:
        raise InvalidRequest(f"{param} must be one of {', '.join(offered)} for this model", param=param)


def _count(offer: Offer, ask: MediaAsk) -> None:
    if offer.most_n is not None and ask.n > offer.most_n:
        raise InvalidRequest(f"n must be at most {offer.most_n} for this model", param="n")


def _size(offer: Offer, ask: MediaAsk) -> None:
    if ask.size is None or not (offer.sizes or offer.any_size) or ask.size in offer.sizes:
        return
    rule, pixels = offer.any_size, ask.pixels
    if rule is not None and pixels is not None and min(pixels) > 0:
        short, long = sorted(pixels)
        divides = not any(side % rule.multiple for side in pixels)
        fits = rule.least_pixels <= short * long <= rule.most_pixels and long <= rule.longest_side
        if divides and fits and long <= rule.most_ratio * short:
            return
    words = [*offer.sizes]
    if rule is not None:
        area = f"{rule.least_pixels} to {rule.most_pixels} pixels"
        words.append(f"WIDTHxHEIGHT of {area} in multiples of {rule.multiple}, at most {rule.longest_side} long")
    raise InvalidRequest(f"size must be one of {', '.join(words)} for this model", param="size")


def _seconds(offer: Offer, ask: MediaAsk) -> None:
    if ask.seconds is None or not (offer.seconds or offer.seconds_range) or ask.seconds in offer.seconds:
        return
    if offer.seconds_range is not None:
        least, most = offer.seconds_range
        if least <= ask.seconds <= most:
            return
        raise InvalidRequest(f"seconds must be from {least:g} to {most:g} for this model", param="seconds")
    raise InvalidRequest(
        f"seconds must be one of {', '.join(f'{one:g}' for one in offer.seconds)} for this model", param="seconds"
    )


def _pictures(offer: Offer, order: Order) -> None:
    masks = sum(picture.role == "mask" for picture in order.pictures)
    sent, param = len(order.pictures) - masks, "input_reference" if order.endpoint == "videos" else "image"
    if masks and not offer.mask:
        raise InvalidRequest("mask is not supported by this model", param="mask")
    if offer.inputs is not None and not offer.inputs[0] <= sent <= offer.inputs[1]:
        least, most = offer.inputs
        raise InvalidRequest(f"this model takes {least} to {most} pictures, not {sent}", param=param)
