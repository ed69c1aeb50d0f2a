"""What is measured of the requests of a run or of a part of it, by name. Pure.

Every measure takes results and how many requests more were due and have none; None is: nothing to measure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from loadtests.load.plan import Result


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of the values do not exceed; None of nothing."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def ttfts(results: Sequence[Result]) -> list[float]:
    return [r.ttft for r in results if r.answered and r.ttft is not None]


def _ttft(share: float) -> Callable[[Sequence[Result], int], float | None]:
    return lambda results, lost: percentile(ttfts(results), share)


def _tpot(results: Sequence[Result], lost: int) -> float | None:
    found = percentile([r.tpot for r in results if r.tpot is not None], 0.95)
    return None if found is None else 1000 * found


def _answer(results: Sequence[Result], lost: int) -> float | None:
    return percentile([r.ended - r.due for r in results if r.answered and not r.slow], 0.95)


def _spilled(results: Sequence[Result], lost: int) -> float | None:
    answered = [r for r in results if r.answered and r.outcome]  # a gateway of another make does not say
    return sum(r.left for r in answered) / len(answered) if answered else None


def _failed(results: Sequence[Result], lost: int) -> float | None:
    return (sum(r.failed for r in results) + lost) / max(1, len(results) + lost)


def _shed(results: Sequence[Result], lost: int) -> float | None:
    return sum(r.shed for r in results) / max(1, len(results) + lost)


MEASURES: Mapping[str, Callable[[Sequence[Result], int], float | None]] = {
    "ttft_p50_s": _ttft(0.5),
    "ttft_p95_s": _ttft(0.95),
    "ttft_p99_s": _ttft(0.99),
    "tpot_p95_ms": _tpot,
    "answer_p95_s": _answer,
    "failed_share": _failed,
    "shed_share": _shed,
    "spilled_share": _spilled,
    "spilled_share_least": _spilled,
}
