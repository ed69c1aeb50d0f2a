"""What a request would ask of a GPU and what it would cost. Priors only; what is learned from traffic replaces them."""

from __future__ import annotations

from gateway.model import GenRequest, Price, Speed, Upstream, Usage
from gateway.routing.priors import TYPICAL_OUTPUT_TOKENS, work_us

BYTES_PER_TOKEN = 4.2
"""Bytes of JSON text per prompt token: English prose in the Llama 3 tokenizer is 4.0 to 4.5."""
MANAGED_UNIT = 1
"""A managed upstream's capacity is counted in requests: each takes one unit of its limit."""
_US_PER_HOUR = 3600e6


def prompt_tokens(request: GenRequest) -> int:
    return max(1, round(request.prompt_bytes / BYTES_PER_TOKEN))


def output_tokens(request: GenRequest) -> int:
    """Expected output of all choices: the typical answer, or the caller's cap where that is lower."""
    cap = request.max_tokens
    each = TYPICAL_OUTPUT_TOKENS if cap is None else min(cap, TYPICAL_OUTPUT_TOKENS)
    return max(1, each * request.n)


def work_on(upstream: Upstream, request: GenRequest) -> int:
    """The work in GPU-us that `request` is expected to take there; never more than the limit,
    so an idle worker takes it."""
    if upstream.kind == "managed":
        return MANAGED_UNIT
    work = work_us(upstream.speed, upstream.seats, prompt_tokens(request), output_tokens(request))
    return max(1, min(work, upstream.limit))


def price_of(price: Price, input_tokens: int, output: int) -> float:
    """List price in USD."""
    return (price.input_per_1m * input_tokens + price.output_per_1m * output) / 1e6 + price.per_request


def expected_price(price: Price, request: GenRequest) -> float:
    return price_of(price, prompt_tokens(request), output_tokens(request))


def price_ceiling(price: Price, request: GenRequest) -> float | None:
    """The most this request can cost in USD, or None where nothing bounds its output.

    A byte-level tokenizer makes at most one token of a byte, so the body's length bounds the prompt.
    """
    if request.max_tokens is None:
        return None
    return price_of(price, len(request.body), request.max_tokens * request.n)


def amortised_price(upstream: Upstream, speed: Speed, usage: Usage) -> float | None:
    """USD of our own GPUs for finished tokens at a healthy batch: work x $/hour of the worker;
    None where $/hour is not known."""
    if upstream.usd_per_hour is None:
        return None
    work = work_us(speed, upstream.seats, usage.input_tokens - usage.cached_tokens, usage.output_tokens)
    return work / _US_PER_HOUR * upstream.usd_per_hour
