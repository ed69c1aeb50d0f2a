"""What finished requests teach about the next ones of the same model: a small frozen state and its pure update."""

from __future__ import annotations

from gateway.model import Learned
from gateway.routing.priors import TYPICAL_OUTPUT_TOKENS, TYPICAL_PROMPT_TOKENS

BYTES_PER_TOKEN = 4.2
"""Prior: bytes of JSON text per prompt token; English prose in the Llama 3 tokenizer is 4.0 to 4.5."""
MEMORY = 1000
"""Requests after which an observation has mostly faded: a mean forgets, so that it follows a change of traffic."""
PRIOR_WEIGHT = 20
"""How many observations the prior is worth."""


PRIOR = Learned(TYPICAL_PROMPT_TOKENS, TYPICAL_PROMPT_TOKENS * BYTES_PER_TOKEN, TYPICAL_OUTPUT_TOKENS)


def learn(before: Learned, prompt_bytes: int, prompt_tokens: int, output_tokens: int) -> Learned:
    """`before` with one finished request of known usage; one that had no prompt or no answer teaches nothing."""
    if prompt_bytes <= 0 or prompt_tokens <= 0 or output_tokens <= 0:
        return before
    weight = 1 / min(MEMORY, before.seen + PRIOR_WEIGHT)
    return Learned(
        before.prompt + weight * (prompt_tokens - before.prompt),
        before.text + weight * (prompt_bytes - before.text),
        before.output + weight * (output_tokens - before.output),
        before.seen + 1,
    )
