"""What an attempt at pictures or speech used: as its upstream told, where that can be true; else what was ordered.

Pure. `metering.py` judges tokens of text: there an answer is as long as what passed, here its bytes say nothing.
"""

from __future__ import annotations

from dataclasses import replace

from gateway.model import GenRequest, MediaAsk, Offer, Usage
from gateway.routing.units import usage_of_ask

PROMPT_TOKENS = 65_536
"""That a prompt may have beyond one for each of its bytes, as in `metering.PROMPT_MARGIN`."""
PICTURE_TOKENS = 131_072
"""No picture has so many, neither sent along nor made: OpenAI's largest, of 4K and the best quality, has a fourth."""
SPEECH_TOKENS = 64
"""Nor any character that is spoken."""


_PICTURES = frozenset({"images/generations", "images/edits"})


def of_ask(request: GenRequest, ask: MediaAsk) -> Usage:
    """All that was ordered, as a guess: nobody told what was made."""
    return replace(usage_of_ask(request.endpoint, ask), estimated=True)


def used(told: Usage | None, request: GenRequest, ask: MediaAsk, offer: Offer | None = None) -> Usage:
    """`told` with what its API leaves to be known from the order; said to be `absurd` where it cannot be true. `offer`:
    what the model gives where the order does not say.

    Of speech the characters are not told: they are those that were sent, so they are no guess.
    """
    ordered = usage_of_ask(request.endpoint, ask, offer)
    if request.endpoint not in _PICTURES:
        told = told or Usage(0, 0)
        most = PROMPT_TOKENS + SPEECH_TOKENS * ask.characters
        lie = told.absurd or told.output_tokens > most or told.input_tokens > most
        return replace(told, characters=ordered.characters, absurd=lie, estimated=lie)
    if told is None:
        return replace(ordered, estimated=True)
    lie = (
        told.absurd
        or told.images > ask.n
        or told.input_tokens > PROMPT_TOKENS + request.prompt_bytes + PICTURE_TOKENS * (ask.inputs + ask.mask)
        or told.output_tokens > PICTURE_TOKENS * ask.n * (1 + ask.partial_images)
    )
    return replace(
        told,
        images=min(told.images, ask.n),
        absurd=lie,
        estimated=told.estimated or lie,
        size=told.size or ordered.size,
        quality=told.quality or ordered.quality,
        input_images=ordered.input_images,
    )
