"""What an attempt at pictures or speech used: as its upstream told, where that can be true; else what was ordered.

Pure. `metering.py` judges tokens of text: there an answer is as long as what passed, here its bytes say nothing.
"""

from __future__ import annotations

from dataclasses import replace

from gateway.model import GenRequest, MediaAsk, Usage

PROMPT_TOKENS = 65_536
"""That a prompt may have beyond one for each of its bytes, as in `metering.PROMPT_MARGIN`."""
PICTURE_TOKENS = 131_072
"""No picture has so many, neither sent along nor made: OpenAI's largest, of 4K and the best quality, has a fourth."""
SPEECH_TOKENS = 64
"""Nor any character that is spoken."""


_PICTURES = "images/"


def of_ask(request: GenRequest, ask: MediaAsk) -> Usage:
    """All that was ordered, as a guess: nobody told what was made."""
    if not request.endpoint.startswith(_PICTURES):
        return Usage(0, 0, characters=ask.characters, estimated=True)
    return _named(Usage(0, 0, images=ask.n, estimated=True), ask)


def used(told: Usage | None, request: GenRequest, ask: MediaAsk) -> Usage:
    """`told` with what its API leaves to be known from the order; said to be `absurd` where it cannot be true.

    Of speech the characters are not told: they are those that were sent, so they are no guess.
    """
    if not request.endpoint.startswith(_PICTURES):
        told = told or Usage(0, 0)
        most = PROMPT_TOKENS + SPEECH_TOKENS * ask.characters
        lie = told.absurd or told.output_tokens > most or told.input_tokens > most
        return replace(told, characters=ask.characters, absurd=lie, estimated=lie)
    if told is None:
        return of_ask(request, ask)
    lie = (
        told.absurd
        or told.images > ask.n
        or told.input_tokens > PROMPT_TOKENS + request.prompt_bytes + PICTURE_TOKENS * (ask.inputs + ask.mask)
        or told.output_tokens > PICTURE_TOKENS * ask.n * (1 + ask.partial_images)
    )
    if lie:
        told = replace(told, images=min(told.images, ask.n), absurd=True, estimated=True)
    return _named(told, ask)


def _named(usage: Usage, ask: MediaAsk) -> Usage:
    return replace(
        usage,
        size=usage.size or ask.size,
        quality=usage.quality or ask.quality,
        resolution=usage.resolution or ask.resolution,
        input_images=ask.inputs,
    )
