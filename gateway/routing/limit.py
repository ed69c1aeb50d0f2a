"""How much leased work a worker may hold and still meet the SLO, learned from what became of its answers. Pure.

`limit = scale x expected`. *Expected* follows from the worker's assumed speed, the SLO and the learned lengths of the
traffic, and so moves at once when these do. *Scale*, a plain number that starts at 1, corrects what the assumptions
miss: one per (worker class, model), shared by all replicas. A vote multiplies it by `factor`; factors commute, so
replicas need no order among them; whoever multiplies then clamps to `bounds`. At rest the share of misses is
`1 - target`: a miss moves the logarithm by `-RATE * target`, an answer that met its SLO by `RATE * (1 - target)`, and
by more where the scale has fallen since it was admitted.

The limit is judged with leases that give back the work of the prompt once its first token is out (`work_left`).
docs/limit.md has the table that chose the constants, and what each guard is worth.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from gateway.model import Learned, Slo, Speed
from gateway.routing.priors import work_us

RATE = 0.03
"""Step of one vote, in the logarithm: a miss takes 3 % off, and 99 met answers put it back."""
FULL = 0.7
"""An answer raises the limit only if its worker was this full when it was admitted: light hours prove nothing."""
DEEPEST = 0.5
"""No miss pushes the scale below this share of what it was when its request was admitted: one burst, one halving."""
HIGHEST = 1.1
"""No answer raises the scale above this multiple of what it was when its request was admitted."""
STEEP = 6
"""The share of misses is taken to grow with this power of the scale. A burst's answers end together, long after they
were admitted; with this they agree on where their own share of misses would have been `1 - target`."""
MOST_STEPS = 10.0
"""No answer counts for more than this many at rest: replicas vote by the scale as they last saw it, and together they
would overshoot."""
CAUTION = 0.38
"""Share of what the SLO allows on average that may be filled at first: the 99th percentile needs the rest."""
DEFAULT_TTFT_SECONDS = 1.0
"""For an SLO that names only the time per token."""
_US_PER_SECOND = 1e6
_MS = 1000.0


class Admitted(NamedTuple):
    """What held when the request was admitted: the scale, and how full its worker was with it on board, as a share of
    the limit of its class (`Candidate.limit`)."""

    scale: float
    full: float


def factor(met: bool, target: float, admitted: Admitted, scale: float) -> float:
    """What to multiply the scale by after one vote; `scale` is what it is now, as last seen.

    Of answers admitted at scale `s`, a share `p` of which missed, the votes balance where
    `p / (1 - p) = (1 - target) / target * (s / scale) ** STEEP`: the more of them missed, the deeper they take it.
    """
    since = admitted.scale / scale
    if not met:
        return max(min(1.0, DEEPEST * since), math.exp(-RATE * target))
    if admitted.full < FULL:
        return 1.0
    steps = min(MOST_STEPS, max(1.0, since) ** STEEP)
    return min(max(1.0, HIGHEST * since), math.exp(RATE * (1 - target) * steps))


def reach(admitted: Admitted) -> tuple[float, float]:
    """Below and above what no vote of an answer admitted then may push the scale, whoever else votes meanwhile."""
    return DEEPEST * admitted.scale, HIGHEST * admitted.scale


def expected_limit_us(speed: Speed, seats: int, slo: Slo, learned: Learned) -> float:
    """GPU-us: the answers of CAUTION of the largest batch whose steps keep `tpot`, and `total` for a mean answer, and
    CAUTION of the prompts that are computed within `ttft`. Where that batch has more than `seats` it is the seats that
    bound it: they need no caution.

    At rest each step of a batch brings `batch / output` new prompts, so it takes
    `step_ms + batch x (per_seq_ms + per_prompt_token_ms x prompt / output)`.
    """
    each = speed.per_seq_ms + speed.per_prompt_token_ms * learned.prompt / learned.output
    token = min(
        math.inf if slo.tpot is None else slo.tpot, math.inf if slo.total is None else slo.total / learned.output
    )
    batch = (token * _MS - speed.step_ms) / each
    answers = min(seats, max(1.0, CAUTION * batch)) * work_us(speed, seats, 0, round(learned.output))
    prompts = (DEFAULT_TTFT_SECONDS if slo.ttft is None else slo.ttft) * _US_PER_SECOND
    return answers + CAUTION * prompts


def bounds(
    expected: float, speed: Speed, seats: int, learned: Learned, kv_tokens: int | None = None
) -> tuple[float, float]:
    """The lowest and the highest scale: one mean request, and as many as there are seats, or memory for them."""
    one = work_us(speed, seats, round(learned.prompt), round(learned.output))
    most = float(seats) if kv_tokens is None else min(seats, kv_tokens / (learned.prompt + learned.output))
    return one / expected, max(1.0, most) * one / expected


def clamp(scale: float, within: tuple[float, float]) -> float:
    lowest, highest = within
    return min(highest, max(lowest, scale))


def guarding(slos: Iterable[Slo]) -> Slo:
    """The strictest of the SLOs seen on a pool: it guards the pool for everyone."""
    seen = list(slos)
    return Slo(
        min((slo.ttft for slo in seen if slo.ttft is not None), default=None),
        min((slo.tpot for slo in seen if slo.tpot is not None), default=None),
        max((slo.target for slo in seen), default=Slo().target),
        min((slo.total for slo in seen if slo.total is not None), default=None),
    )
