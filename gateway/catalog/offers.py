"""`can`, as it is written in models.yaml and on the catalogue's cards, becomes an Offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.model import Offer, SizeRule


def offer_of(can: Mapping[str, Any]) -> Offer:
    """Of a mapping whose keys and values `policy/offer_schema.py:OfferIn` allows; what is absent or None bounds
    nothing."""
    given, rule, seconds = can.get("defaults") or {}, can.get("any_size"), can.get("seconds")
    images, endpoints = can.get("images"), can.get("endpoints")
    return Offer(
        endpoints=None if endpoints is None else frozenset(_each(endpoints)),
        sizes=_each(can.get("sizes")),
        any_size=None if rule is None else SizeRule(**{key: each for key, each in rule.items() if each is not None}),
        resolutions=_each(can.get("resolutions")),
        ratios=_each(can.get("aspect_ratios")),
        qualities=_each(can.get("qualities")),
        seconds=() if isinstance(seconds, Mapping) else _each(seconds),
        seconds_range=(seconds["least"], seconds["most"]) if isinstance(seconds, Mapping) else None,
        formats=_each(can.get("formats")),
        voices=_each(can.get("voices")),
        most_n=can.get("n"),
        most_prompt=can.get("prompt_characters"),
        inputs=None if images is None else (images[0], images[1]),
        mask=can.get("mask", True),
        streams=can.get("streams", True),
        steps=given.get("steps"),
        default_size=given.get("size"),
        default_seconds=given.get("seconds"),
        default_fps=given.get("fps"),
        default_quality=given.get("quality"),
        default_resolution=given.get("resolution"),
    )


def _each(value: Any) -> tuple[Any, ...]:
    """One value may stand for a list of one."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)


def can_of(offer: Offer) -> dict[str, Any]:
    """The inverse: as it would be written in models.yaml, without what bounds nothing."""
    rule, none = offer.any_size, SizeRule()
    written: dict[str, Any] = {
        "endpoints": None if offer.endpoints is None else sorted(offer.endpoints),
        "sizes": offer.sizes,
        "any_size": rule
        and {key: own for key in SizeRule.__slots__ if (own := getattr(rule, key)) != getattr(none, key)},
        "resolutions": offer.resolutions,
        "aspect_ratios": offer.ratios,
        "qualities": offer.qualities,
        "seconds": offer.seconds or (offer.seconds_range and dict(zip(_RANGE, offer.seconds_range, strict=True))),
        "formats": offer.formats,
        "voices": offer.voices,
        "n": offer.most_n,
        "prompt_characters": offer.most_prompt,
        "images": offer.inputs,
        "mask": None if offer.mask else False,
        "streams": None if offer.streams else False,
        "defaults": {key: value for key, value in _defaults(offer).items() if value is not None},
    }
    as_lists = {key: list(value) if isinstance(value, tuple) else value for key, value in written.items()}
    return {key: value for key, value in as_lists.items() if value is not None and value not in ([], {})}


_RANGE = ("least", "most")


def _defaults(offer: Offer) -> dict[str, Any]:
    return {
        "size": offer.default_size,
        "seconds": offer.default_seconds,
        "fps": offer.default_fps,
        "quality": offer.default_quality,
        "resolution": offer.default_resolution,
        "steps": offer.steps,
    }
