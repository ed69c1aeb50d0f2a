"""What would happen: how long a request waits, when its first and its last token come, what it costs. Pure.

Priors come from the policy file (speed, prices) and from what is learned of the model's lengths; `Pace` corrects what
they miss, learned online per (backend, model) from what did happen.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.model import Candidate, GenRequest, Learned, Usage
from gateway.routing.estimate import amortised_price, output_tokens, prompt_tokens

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


def forecast(one: Candidate, request: GenRequest, inflight: int, learned: Learned, pace: Pace = AS_ASSUMED) -> Forecast:
    """For `request` on an upstream that has `inflight` requests already.

    At rest a step of a batch brings `batch / output` new prompts, so each token takes
    `step_ms + batch x (per_seq_ms + per_prompt_token_ms x prompt / output)`; the first one waits for a step and for
    its own prompt (limit.py has the same formula).
    """
    prompt, output = prompt_tokens(request, learned), output_tokens(request, learned)
    upstream = one.upstream
    if upstream.kind == "local":
        speed, batch = upstream.speed, inflight + request.n
        shared = speed.per_seq_ms + speed.per_prompt_token_ms * learned.prompt / learned.output
        each = (speed.step_ms + batch * shared) / _MS
        first = each + speed.per_prompt_token_ms * prompt / _MS
        price = amortised_price(upstream, upstream.speed, Usage(prompt, output))
    else:
        first, each, price = MANAGED_FIRST_SECONDS, MANAGED_EACH_SECONDS, one.price
    first, each = first * pace.first, each * pace.each
    return Forecast(prompt, output, first, each, first + each * max(0, output // request.n - 1), price)


def wait_for_room(leased: int, outside: int, work: int, limit: int) -> float:
    """Seconds until `work` fits under `limit` (GPU-us): a busy worker does a GPU-second of leased work in a second."""
    return max(0, leased + outside + min(work, limit) - limit) / _US


def correct(pace: Pace, said: Forecast, first: float | None, each: float | None) -> Pace:
    """`pace` after an answer whose first token took `first` and each later one `each` seconds; None: not known."""
    return Pace(_moved(pace.first, said.first, first), _moved(pace.each, said.each, each))


def _moved(before: float, said: float, was: float | None) -> float:
    if was is None or was <= 0 or said <= 0:
        return before
    moved: float = before * (was / said) ** PACE_RATE
    return min(PACE_MOST, max(1 / PACE_MOST, moved))


def error(said: float, was: float) -> float | None:
    """Relative error of an estimate, as a share of what was; None where that was nothing."""
    return abs(said - was) / was if was > 0 else None
