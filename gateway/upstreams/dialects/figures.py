"""Figures of usage as an upstream tells them, made into counts that can be booked: whole, and never negative.

Nothing here raises, whatever JSON it is given. What cannot be true leaves a mark (`odd`), and its reader says so in
`Usage.absurd`; what it is booked as is the meter's affair (`edge/metering.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

MOST = 2**24
"""No model reads or writes more tokens: the longest context that is sold holds ten million. What is larger is a mistake
of whoever tells it."""
ODD_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What reading raises where something is not as its API has it."""
_NOTHING: Mapping[str, Any] = {}


class Figures:
    """Those of one answer. `odd`: at least one of them cannot be true."""

    __slots__ = ("odd",)

    def __init__(self) -> None:
        self.odd = False

    def count(self, told: Any) -> int:
        """0 where nothing is told (None). Engines written in other languages say 12.0 for 12."""
        if type(told) is int and 0 <= told <= MOST:
            return told
        if told is None:
            return 0
        if type(told) is float and told.is_integer() and 0 <= told <= MOST:
            return int(told)
        self.odd = True
        if type(told) not in (int, float) or not told > 0:
            return 0
        return math.ceil(told) if told < MOST else MOST

    def part(self, told: Any, whole: int) -> int:
        """Of `whole`: more than that is odd."""
        count = self.count(told)
        if count > whole:
            self.odd = True
            return whole
        return count

    def seconds(self, told: Any) -> float:
        """APIs say them as numbers and as text (`"8"`); 0.0 where nothing is told."""
        if told is None:
            return 0.0
        try:
            said = float(told) if type(told) in (int, float, str) else math.nan
        except (ValueError, OverflowError):
            said = math.nan
        if 0 <= said <= MOST:
            return said
        self.odd = True
        return float(MOST) if said > 0 else 0.0


class Prompt(NamedTuple):
    """Parts of a prompt. Cached and written are apart from each other, and so are sound and pictures; but sound and
    pictures may be cached too."""

    cached: int
    written: int
    sound: int
    pictures: int
    cached_sound: int
    cached_pictures: int


def prompt_parts(figures: Figures, details: Mapping[str, Any], prompt: int, written: Any) -> Prompt:
    """Of `*_tokens_details` as OpenAI's APIs tell them; `written`: to a cache. More than their whole are odd, one by
    one and together."""
    cached = figures.part(details.get("cached_tokens"), prompt)
    sound = figures.part(details.get("audio_tokens"), prompt)
    pictures = figures.part(details.get("image_tokens"), prompt - sound)
    told = nested(details, "cached_tokens_details")
    heard = figures.part(told.get("audio_tokens"), min(cached, sound))
    seen = figures.part(told.get("image_tokens"), min(cached - heard, pictures))
    return Prompt(cached, figures.part(written, prompt - cached), sound, pictures, heard, seen)


def nested(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object in an object; nothing where there is none."""
    inner = found.get(name)
    return inner if isinstance(inner, dict) else _NOTHING
