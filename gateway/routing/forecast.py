"""What would happen: how long a request waits, when its first and its last token come, what it costs. Pure.

Priors come from the policy file (speed, prices) and from what is learned of the model's lengths; `Pace` corrects what
they miss, learned online per (backend, model) from what did happen.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.model import MICRO_PER_USD, Candidate, Learned, Upstream, UpstreamState, Usage
from gateway.routing.estimate import amortised_price, rent

MANAGED_FIRST_SECONDS = 0.45
MANAGED_EACH_SECONDS = 0.02
"""Prior of a bought API, whose load nobody knows: the median first token of docs/limit.md, and 50 tokens a second."""
PACE_RATE = 0.05
"""Step of one observation, in the logarithm: some twenty requests find a change."""
PACE_MOST = 100.0
"""No correction goes further: a hung attempt must not poison the estimate."""
_MS = 1000.0
_US = 1e6


class Pace(NamedTuple):
    """How many times slower than assumed: the first token, and each later one."""

    first: float = 1.0
    each: float = 1.0


class Forecast(NamedTuple):
    """Seconds from when it is sent, tokens, and USD (None: no price is known)."""

    prompt: int
    output: int
    first: float
    each: float
    total: float
    price: float | None


AS_ASSUMED = Pace()


def pace_there(upstream: Upstream, prompt: int, batch: int, learned: Learned, pace: Pace) -> tuple[float, float]:
    """Seconds to the first token of a prompt of so many tokens, and for each later one, where `batch` sequences run,
    it included.

    At rest a step of a batch brings `batch / output` new prompts, so each token takes
    `step_ms + batch x (per_seq_ms + per_prompt_token_ms x prompt / output)`; the first one waits for a step and for
    its own prompt (limit.py has the same formula). A bought API is as fast as its pace says, whatever its load.
    """
    if upstream.kind == "managed":
        return MANAGED_FIRST_SECONDS * pace.first, MANAGED_EACH_SECONDS * pace.each
    speed = upstream.speed
    shared = speed.per_seq_ms + speed.per_prompt_token_ms * learned.prompt / learned.output
    each = (speed.step_ms + batch * shared) / _MS
    return (each + speed.per_prompt_token_ms * prompt / _MS) * pace.first, each * pace.each


def forecast(one: Candidate, n: int, inflight: int, learned: Learned, pace: Pace = AS_ASSUMED) -> Forecast:
    """For a request of `n` outputs on an upstream that has `inflight` requests already."""
    prompt, output, upstream = one.ask.input_tokens, one.ask.output_tokens, one.upstream
    first, each = pace_there(upstream, prompt, inflight + n, learned, pace)
    local = upstream.kind == "local"
    if one.ask.work:
        return _of_media(one)
    own = amortised_price(upstream, Usage(prompt, output)) if local else None
    price = one.price if own is None else own / MICRO_PER_USD
    return Forecast(prompt, output, first, each, first + each * max(0, output // n - 1), price)


def _of_media(one: Candidate) -> Forecast:
    """A picture comes whole: there is no first token, and what is said of it is its end. A bought API is as fast as an
    H100 of ours that has nothing else to do, times what is learned of it."""
    upstream, seconds = one.upstream, one.ask.work / _US
    if upstream.kind == "managed":
        return Forecast(0, 0, seconds, 0.0, seconds, one.price)
    own = None if upstream.usd_per_hour is None else rent(one.ask.work, upstream.usd_per_hour)
    return Forecast(0, 0, seconds, 0.0, seconds, None if own is None else own / MICRO_PER_USD)


def queue_wait(waiting: int, leased: int, inflight: int, work: int) -> float:
    """Seconds that `waiting` requests before it take a worker: those in its own queue ask for as much as the mean of
    those it holds (`leased` GPU-us in `inflight` requests), or as this one (`work`) where it holds none of ours."""
    return max(0, waiting) * (leased / inflight if inflight else work) / _US


def wait_for_room(leased: int, outside: int, work: int, limit: int) -> float:
    """Seconds until `work` fits under `limit` (GPU-us): a busy worker does a GPU-second of leased work in a second."""
    over = leased + outside + (work if work < limit else limit) - limit
    return over / _US if over > 0 else 0.0


def wait_at(state: UpstreamState, work: int, limit: int) -> float:
    """Seconds until `work` fits there; without a free seat at least until one of its requests has ended, of which each
    has an equal part of its work."""
    seconds = wait_for_room(state.leased, state.outside, work, limit)
    if state.inflight < state.holds or not state.inflight:
        return seconds
    return max(seconds, state.leased / state.inflight / _US)


def correct(pace: Pace, said: Forecast, first: float | None, each: float | None, rate: float = PACE_RATE) -> Pace:
    """`pace` after an answer whose first token took `first` and each later one `each` seconds; None: not known."""
    return Pace(_moved(pace.first, said.first, first, rate), _moved(pace.each, said.each, each, rate))


def _moved(before: float, said: float, was: float | None, rate: float) -> float:
    if was is None or was <= 0 or said <= 0:
        return before
    moved: float = before * (was / said) ** rate
    return min(PACE_MOST, max(1 / PACE_MOST, moved))


def error(said: float, was: float) -> float | None:
    """Relative error of an estimate, as a share of what was; None where that was nothing."""
    return abs(said - was) / was if was > 0 else None
