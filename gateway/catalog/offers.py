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
