"""What an answer says about its worker's limit: it met its SLO, missed it, or says nothing. Pure.

Times are seconds since the request was sent to the upstream, measured where the upstream's bytes arrive.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from gateway.model import Slo, Speed

Ending = Literal["open", "done", "timeout", "left", "failed"]
"""Still under way; complete; the upstream was too slow for our timeouts; the client left; the upstream broke."""
_MS = 1000.0


class Timings(NamedTuple):
    """One local attempt so far. `age` is now, or when it ended; `first` and `last` are the first and newest token.

    `tokens` is the output so far. Of an answer that is not streamed only the whole is known: its usage, or before that
    the most that it can be (`max_tokens`), or None.
    """

    age: float
    first: float | None = None
    last: float | None = None
    tokens: int | None = None
    ending: Ending = "open"
    stream: bool = True
    paused: bool = False
    """Its own reader did not take the bytes as fast as they came."""


class Alone(NamedTuple):
    """What the request would take on an idle worker: first token, and each later one, in seconds. `tokens`: how many
    its answer is expected to have."""

    first: float
    each: float
    tokens: int = 0


def alone(speed: Speed, prompt_tokens: int, output_tokens: int = 0) -> Alone:
    """From the worker's speed: `step_ms + per_prompt_token_ms * prompt`, then `step_ms + per_seq_ms` per token."""
    first = speed.step_ms + speed.per_prompt_token_ms * prompt_tokens
    return Alone(first / _MS, (speed.step_ms + speed.per_seq_ms) / _MS, output_tokens)


def vote(slo: Slo, seen: Timings, idle: Alone) -> bool | None:
    """True: met. False: missed, which may be known before the end. None: no vote, or not yet.

    Load is not to blame, and there is no vote, where its own reader paused the stream, where the upstream broke, where
    the client left before the SLO passed, and where the request would miss alone on an idle worker.
    """
    if seen.paused or seen.ending == "failed" or hopeless(slo, seen, idle) or slo == Slo(target=slo.target):
        return None
    if seen.ending == "timeout" or (overdue(slo, seen) and seen.ending != "open"):
        return False
    if not seen.stream:
        return whole(slo, seen)
    if slo.ttft is not None and (seen.age if seen.first is None else seen.first) > slo.ttft:
        return False
    if seen.ending == "open" or seen.first is None:
        return None
    return later(slo, seen, seen.first)


def later(slo: Slo, seen: Timings, first: float) -> bool | None:
    """The tokens after a first one in time: their mean gap; of a client that left, also the token it waited for."""
    left = seen.ending == "left"
    if slo.tpot is not None and seen.last is not None and seen.tokens is not None and seen.tokens > 1:
        span, gaps = (seen.age - first, seen.tokens) if left else (seen.last - first, seen.tokens - 1)
        if span > slo.tpot * gaps:
            return False
    return None if left else True


def overdue(slo: Slo, seen: Timings) -> bool:
    """It took longer than all of it may. Judged at its end: only then is it known how long it would have been alone."""
    return slo.total is not None and seen.age > slo.total


def hopeless(slo: Slo, seen: Timings, idle: Alone) -> bool:
    if (slo.ttft is not None and idle.first > slo.ttft) or (slo.tpot is not None and idle.each > slo.tpot):
        return True
    tokens = seen.tokens if seen.ending == "done" and seen.tokens is not None else max(idle.tokens, seen.tokens or 0)
    return slo.total is not None and idle.first + idle.each * max(0, tokens - 1) > slo.total


def whole(slo: Slo, seen: Timings) -> bool | None:
    """An answer that is not streamed: its total against `ttft + tpot x tokens`, where both are given, and `total`."""
    if slo.ttft is None or slo.tpot is None or seen.tokens is None:
        return True if slo.total is not None and seen.ending == "done" else None
    if seen.age > slo.ttft + slo.tpot * seen.tokens:
        return False
    return True if seen.ending == "done" else None
