"""What a request would ask of a GPU and what it would cost, from what is learned of its model, else from priors."""

from __future__ import annotations

from functools import lru_cache

from gateway.model import (
    MICRO_PER_USD,
    PICO_PER_USD,
    US_PER_HOUR,
    Estimate,
    GenRequest,
    Learned,
    MediaAsk,
    Offer,
    Price,
    Served,
    Upstream,
    Usage,
    pico,
)
from gateway.routing.bill import micro, most
from gateway.routing.learn import PRIOR
from gateway.routing.media import media_pico
from gateway.routing.priors import work_us
from gateway.routing.units import most_of_media, price_of_media, work_of_media

MANAGED_UNIT = 1
"""A managed upstream's capacity is counted in requests: each takes one unit of its limit."""
UNSEEN_TOKENS = {"messages": 512, "realtime": 65_536}
"""Prompt tokens that a request does not show: what an API adds of its own to a prompt with tools, 313 to 346
(Anthropic, tool use, "pricing"); what a session is given for all that will be said in it, under a hard budget."""


def prompt_tokens(request: GenRequest, learned: Learned = PRIOR) -> int:
    return max(1, round(request.prompt_bytes / learned.bytes_per_token))


def longest_prompt(request: GenRequest) -> int:
    """Tokens that a prompt of text cannot go beyond: a byte-level tokenizer makes at most one of a byte. That of the
    rest of a stream that broke off holds what was written of it."""
    written = 0 if request.whole is None else request.prompt_bytes - request.whole[0]
    return len(request.body) + written + _unseen(request)


def _unseen(request: GenRequest) -> int:
    """A chat with tools may be translated for an API that speaks Messages; whether it will be is not known yet."""
    translated = request.endpoint == "chat/completions" and request.reworded is not None and request.reworded.tools
    return UNSEEN_TOKENS.get("messages" if translated else request.endpoint, 0)


def output_tokens(request: GenRequest, learned: Learned = PRIOR) -> int:
    """Expected output of all choices: the typical answer, or the caller's cap where that is lower."""
    typical = max(1, round(learned.output))
    each = typical if request.max_tokens is None else min(request.max_tokens, typical)
    return each * request.n


def work_of(upstream: Upstream, input_tokens: int, output: int) -> int:
    """The work in GPU-us of so many tokens there, before any clamping to a limit."""
    if upstream.kind == "managed":
        return MANAGED_UNIT
    return work_us(upstream.speed, upstream.seats, input_tokens, output)


def work_on(upstream: Upstream, request: GenRequest, learned: Learned = PRIOR) -> int:
    """The work in GPU-us that `request` is expected to take there; the pick clamps it to the limit,
    so that an idle worker takes it."""
    return work_of(upstream, prompt_tokens(request, learned), output_tokens(request, learned))


def work_for(upstream: Upstream, ask: Estimate) -> int:
    """The same of what a request asks for."""
    if ask.work and upstream.kind == "local":
        return ask.work
    return work_of(upstream, ask.input_tokens, ask.output_tokens)


def work_left(upstream: Upstream, ask: Estimate) -> int:
    """What is still to do once the first token is out: the lease gives back the rest. Of media nothing is: a first
    picture says little about the others."""
    return work_for(upstream, ask) if ask.work else work_of(upstream, 0, ask.output_tokens)


def price_of(price: Price, input_tokens: int, output: int) -> float:
    """USD, for choosing: what is booked is `bill.bill`."""
    tokens = price.tokens_for(input_tokens)
    job = (media_pico(price, Usage(input_tokens, output)) or 0) if price.media else 0
    return (tokens.input * input_tokens + tokens.output * output + price.per_request + job) / PICO_PER_USD


def expected_price(
    price: Price, request: GenRequest, learned: Learned = PRIOR, offer: Offer | None = None
) -> float | None:
    """USD; None where the price has no rate for what is asked."""
    if request.media is not None:
        return _usd(price_of_media(price, request.endpoint, request.media, offer))
    return price_of(price, prompt_tokens(request, learned), output_tokens(request, learned))


def price_ceiling(price: Price, request: GenRequest, offer: Offer | None = None) -> float | None:
    """The most this request can cost in USD; None where nothing bounds its output, or its prompt is not text alone."""
    if request.media is not None:
        return _usd(most_of_media(price, request.endpoint, request.media, offer))
    if request.max_tokens is None or not request.text_only:
        return None
    return most(price, longest_prompt(request), request.max_tokens * request.n) / MICRO_PER_USD


def _usd(micro_usd: int | None) -> float | None:
    return None if micro_usd is None else micro_usd / MICRO_PER_USD


def _media(request: GenRequest, ask: MediaAsk, served: Served, slower: float) -> Estimate:
    price, offer = served.price, served.offer
    work = work_of_media(request.endpoint, ask, offer, slower)
    if price is None:
        return Estimate(0, 0, None, None, work)
    return Estimate(0, 0, expected_price(price, request, offer=offer), price_ceiling(price, request, offer), work)


def estimate(request: GenRequest, served: Served, learned: Learned = PRIOR, slower: float = 1.0) -> Estimate:
    """`slower`: how many times as long as assumed our own workers take for a unit of media (`Pace.first`)."""
    if request.media is not None:
        return _media(request, request.media, served, slower)
    prompt, output = prompt_tokens(request, learned), output_tokens(request, learned)
    if served.price is None:
        return Estimate(prompt, output, None, None)
    price, ceiling = price_of(served.price, prompt, output), price_ceiling(served.price, request)
    return Estimate(prompt, output, price, price if ceiling is None else ceiling)


def gpu_us(upstream: Upstream, usage: Usage) -> int:
    """GPU-us of one of our workers for finished tokens at a healthy batch; what its cache held took none."""
    if not usage.input_tokens and not usage.output_tokens:
        return 0
    return work_us(
        upstream.speed, upstream.seats, max(0, usage.input_tokens - usage.cached_tokens), usage.output_tokens
    )


def amortised_price(upstream: Upstream, usage: Usage) -> int | None:
    """Micro-dollars of our own GPUs for finished tokens at a healthy batch: work x $/hour of the worker; None where
    $/hour is not known."""
    return None if upstream.usd_per_hour is None else rent(gpu_us(upstream, usage), upstream.usd_per_hour)


@lru_cache(maxsize=1024)
def _hourly(usd_per_hour: float) -> int:
    return micro(pico(usd_per_hour))


def rent(work: int, usd_per_hour: float) -> int:
    """Micro-dollars of so much GPU time (us) of a worker, rounded up."""
    return -(-work * _hourly(usd_per_hour) // US_PER_HOUR)
