"""What a request for pictures, films or sound comes to: the work in it, and what it will be charged for. Pure.

Diffusion servers publish no load, so this work is the only truth about how busy they are. It is counted in units whose
*ratios* matter most: a 50-step picture of 2048x2048 is 400 times a 1-step one of 512x512. How long a unit takes is
learned (`Pace.first` of its backend and model); until then these guesses stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil

from gateway.model import EndpointName, MediaAsk, Offer, Price, Usage
from gateway.routing.bill import bill, most_of

PIXELS = 1024 * 1024
SECONDS = 4.0
"""Of a film whose request does not say, as OpenAI's API has it."""
FPS = 16.0
STEPS = 50
"""What the diffusion servers take where nobody says (vLLM-Omni, SGLang)."""
AUDIO_SECONDS = 30.0
"""Of a sound whose length nobody knows."""
_DRAWN_US = 140_000.0
UNIT_US: Mapping[EndpointName, float] = {
    "images/generations": _DRAWN_US,
    "images/edits": _DRAWN_US,
    "videos": _DRAWN_US,
    "audio/speech": 7_000.0,
    "audio/transcriptions": 10_000.0,
    "audio/translations": 10_000.0,
}
"""GPU-us of one unit on an H100. A step of a megapixel: 7 s for 50 steps of 1024x1024 with a model of 12 billion
parameters. A character: speech at ten times the speed of talking. A second that is heard: a hundred times. All are
guesses of the right order, to be replaced by what is learned."""
MARGIN = 1.25
"""By which a picture that is charged by tokens may cost more than its list price tells: the list is for usual ones."""
INPUT_IMAGE_TOKENS = 8_192
"""Prompt tokens that no picture sent along goes beyond at the APIs that count it in tokens."""
PROMPT_TOKENS_PER_CHARACTER = 4
"""A byte-level tokenizer makes at most one token of a byte, and a character has at most four."""
LINES = frozenset({360, 480, 540, 576, 720, 768, 1080, 1440, 2160})
"""Shorter sides of films that price lists have a word for."""
_MEGA = 1e6


def units_of(endpoint: EndpointName, ask: MediaAsk, offer: Offer | None = None) -> float:
    """Steps x megapixels x pictures, x frames of a film; characters; seconds of sound."""
    if endpoint == "audio/speech":
        return float(max(1, ask.characters))
    if endpoint in ("audio/transcriptions", "audio/translations"):
        return ask.audio_seconds or AUDIO_SECONDS
    steps = ask.steps or (offer.steps if offer else None) or STEPS
    drawn = steps * _pixels(ask, offer) / _MEGA * ask.n
    return drawn * frames_of(ask, offer) if endpoint == "videos" else drawn


def work_of_media(endpoint: EndpointName, ask: MediaAsk, offer: Offer | None, slower: float = 1.0) -> int:
    """GPU-us; `slower`: how many times as long as guessed a unit was found to take."""
    return max(1, round(units_of(endpoint, ask, offer) * UNIT_US.get(endpoint, _DRAWN_US) * slower))


def frames_of(ask: MediaAsk, offer: Offer | None = None) -> float:
    fps = ask.fps or (offer.default_fps if offer else None) or FPS
    return max(1.0, _seconds(ask, offer) * fps)


def usage_of_ask(endpoint: EndpointName, ask: MediaAsk, offer: Offer | None = None) -> Usage:
    """What it will have used when it has all that it asks for; where it does not say, what its model gives then."""
    if endpoint == "audio/speech":
        return Usage(0, 0, characters=ask.characters)
    if endpoint in ("audio/transcriptions", "audio/translations"):
        return Usage(0, 0, audio_seconds=ask.audio_seconds or AUDIO_SECONDS, estimated=ask.audio_seconds is None)
    kind = _Defaults(offer)
    named = Usage(0, 0, input_images=ask.inputs, quality=ask.quality or kind.quality, size=ask.size or kind.size)
    if endpoint == "videos":
        resolution = ask.resolution or resolution_of(ask) or kind.resolution
        return replace(named, seconds=_seconds(ask, offer) * ask.n, resolution=resolution)
    return replace(named, images=ask.n)


def resolution_of(ask: MediaAsk) -> str | None:
    """What a film of such a size is sold as: 1280x720 and 720x1280 are 720p. None: no size that has such a name."""
    pixels = ask.pixels
    return f"{min(pixels)}p" if pixels is not None and min(pixels) in LINES else None


def price_of_media(price: Price, endpoint: EndpointName, ask: MediaAsk, offer: Offer | None = None) -> int | None:
    """Micro-dollars of what it asks for, of the dearest kind where it does not say which; None where the price has no
    rate for it."""
    usage = usage_of_ask(endpoint, ask, offer)
    likely = bill(price, usage)
    return most_of(price, usage) if likely is None else likely


def most_of_media(price: Price, endpoint: EndpointName, ask: MediaAsk, offer: Offer | None = None) -> int | None:
    """The most that it can cost, in micro-dollars: what a budget sets aside."""
    usage = usage_of_ask(endpoint, ask, offer)
    listed = most_of(price, usage)
    if listed is None or not price.tokens.output:
        return listed
    read = ask.prompt_characters * PROMPT_TOKENS_PER_CHARACTER + ask.inputs * INPUT_IMAGE_TOKENS
    prompt = most_of(price, replace(usage, images=0, seconds=0.0, input_images=0, input_tokens=read)) or 0
    return ceil(listed * MARGIN) + prompt


class _Defaults:
    """What a model gives where nobody says."""

    def __init__(self, offer: Offer | None) -> None:
        self.quality = offer.default_quality if offer else None
        self.size = offer.default_size if offer else None
        self.resolution = offer.default_resolution if offer else None


def _seconds(ask: MediaAsk, offer: Offer | None) -> float:
    return ask.seconds or (offer.default_seconds if offer else None) or SECONDS


def _pixels(ask: MediaAsk, offer: Offer | None) -> int:
    if ask.pixels is not None:
        return ask.pixels[0] * ask.pixels[1]
    word = ask.size or ask.resolution or (offer and (offer.default_size or offer.default_resolution)) or ""
    named = MediaAsk(size=word).pixels if word else None
    return named[0] * named[1] if named else WORD_PIXELS.get(word.lower(), PIXELS)


WORD_PIXELS: Mapping[str, int] = {
    "360p": 640 * 360,
    "480p": 854 * 480,
    "720p": 1280 * 720,
    "768p": 1366 * 768,
    "1080p": 1920 * 1080,
    "4k": 3840 * 2160,
    "2160p": 3840 * 2160,
    "1k": 1024 * 1024,
    "2k": 2048 * 2048,
    "3k": 3072 * 3072,
}
"""Of sizes and resolutions that APIs name by a word."""
