"""Whether a model can do what an order asks for, by its `Offer`: the last word before money is spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.errors import InvalidRequest
from gateway.model import Offer, SizeRule
from gateway.upstreams.dialects.ordering import Order

_NAMES: Mapping[str, tuple[str, ...]] = {
    "ratio": ("ratio", "aspect_ratio"),
    "seconds": ("seconds", "duration"),
    "format": ("output_format", "response_format"),
    "steps": ("steps", "num_inference_steps"),
    "prompt": ("prompt", "input"),
    "picture": ("image", "image[]", "images", "input_reference"),
}
"""What we call it -> how callers may; the first one where none is found."""


def named(order: Order, name: str) -> str:
    """The caller's own name for it."""
    names = _NAMES.get(name, (name,))
    return next((each for each in names if each in order.fields), names[0])


def check(order: Order, offer: Offer) -> None:
    """Raises InvalidRequest, naming the caller's parameter and what would be right."""
    ask = order.ask
    _one_of(order, "resolution", _lower(ask.resolution), [_lower(each) or "" for each in offer.resolutions])
    _one_of(order, "ratio", ask.ratio, offer.ratios)
    _one_of(order, "quality", None if ask.quality == "auto" else ask.quality, offer.qualities)
    _one_of(order, "format", ask.format, offer.formats)
    _one_of(order, "voice", ask.voice, offer.voices)
    _size(order, offer)
    _seconds(order, offer)
    _most(order, "n", ask.n, offer.most_n, "at a time")
    _most(order, "prompt", len(order.prompt), offer.most_prompt, "characters")
    _pictures(order, offer)


def fits(rule: SizeRule, width: int, height: int) -> bool:
    """Both in pixels."""
    if min(width, height) < 1 or width % rule.multiple or height % rule.multiple:
        return False
    long, short = max(width, height), min(width, height)
    in_area = rule.least_pixels <= width * height <= rule.most_pixels
    return in_area and long <= rule.longest_side and long <= rule.most_ratio * short


def _refuse(order: Order, name: str, said: object, right: str) -> None:
    param = named(order, name)
    raise InvalidRequest(f"`{param}` {said} is not available with this model; it takes {right}", param=param)


def _one_of(order: Order, name: str, said: str | None, known: Sequence[str]) -> None:
    if said is not None and known and said not in known:
        _refuse(order, name, said, ", ".join(known))


def _most(order: Order, name: str, said: int, most: int | None, what: str) -> None:
    if most is not None and said > most:
        _refuse(order, name, f"of {said}", f"at most {most} {what}")


def _size(order: Order, offer: Offer) -> None:
    said, pixels, rule = order.ask.size, order.ask.pixels, offer.any_size
    if said is None or said in offer.sizes or not (offer.sizes or rule):
        return
    if rule is not None and pixels is not None and fits(rule, *pixels):
        return
    _refuse(order, "size", said, " or ".join(filter(None, (", ".join(offer.sizes), _ruled(rule)))))


def _ruled(rule: SizeRule | None) -> str:
    if rule is None:
        return ""
    said = [f"WIDTHxHEIGHT of {rule.least_pixels} to {rule.most_pixels} pixels"]
    if rule.multiple > 1:
        said.append(f"both divisible by {rule.multiple}")
    if rule.longest_side < SizeRule().longest_side:
        said.append(f"no side longer than {rule.longest_side}")
    if rule.most_ratio < SizeRule().most_ratio:
        said.append(f"a ratio of at most {rule.most_ratio:g}:1")
    return ", ".join(said)


def _seconds(order: Order, offer: Offer) -> None:
    said = order.ask.seconds
    if said is None:
        return
    if offer.seconds and said not in offer.seconds:
        _refuse(order, "seconds", f"{said:g}", ", ".join(f"{each:g}" for each in offer.seconds))
    if offer.seconds_range is not None:
        least, most = offer.seconds_range
        if not least <= said <= most:
            _refuse(order, "seconds", f"{said:g}", f"{least:g} to {most:g}")


def _pictures(order: Order, offer: Offer) -> None:
    count = sum(picture.role != "mask" for picture in order.pictures)
    if offer.inputs is not None and not offer.inputs[0] <= count <= offer.inputs[1]:
        param = named(order, "picture")
        if param not in order.fields and order.endpoint == "videos":
            param = "input_reference"
        least, most = offer.inputs
        many = f"{least}" if least == most else f"{least} to {most}"
        raise InvalidRequest(f"this model takes {many} pictures, and {count} came", param=param)
    if not offer.mask and any(picture.role == "mask" for picture in order.pictures):
        raise InvalidRequest("this model takes no mask", param="mask")


def _lower(said: str | None) -> str | None:
    return None if said is None else said.lower()
