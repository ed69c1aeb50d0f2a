"""Thresholds on the signals of one upstream (`Rule.filters`): who breaks one takes no part, for the reason of its name.

STANDING signals are in the snapshot, and judged once for all requests. FORECAST ones are worked out for each request.
An unknown signal breaks no threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gateway.model import Reason, Threshold, UpstreamState
from gateway.routing.affinity import share
from gateway.routing.scene import Scene, asked_of, first_token_there, wait_there

_MS = 1000.0
BELOW = "below"
"""The drop where a class waits for its backend to be less full (below.py): like a filter, a word of the user's."""


def satisfied(threshold: Threshold, value: float) -> bool:
    """Whether the comparison holds."""
    if value == threshold.value:
        return threshold.inclusive
    return (value > threshold.value) is threshold.above


def load(state: UpstreamState, _: float) -> float | None:
    return share(state)


def headroom(state: UpstreamState, _: float) -> float | None:
    return state.headroom


def error_rate(state: UpstreamState, _: float) -> float | None:
    return state.errors


def _read(attribute: str) -> Callable[[UpstreamState, float], float | None]:
    def read(state: UpstreamState, since: float) -> float | None:
        reading: Any = state.reading
        return None if reading is None or reading.at < since else getattr(reading, attribute)

    return read


def wait_ms(at: Scene, state: UpstreamState) -> float | None:
    seconds = wait_there(at, state, *asked_of(at, state))
    return None if seconds is None else seconds * _MS


def ttft_ms(at: Scene, state: UpstreamState) -> float | None:
    return first_token_there(at, state, *asked_of(at, state)) * _MS


STANDING: Mapping[str, Callable[[UpstreamState, float], float | None]] = {
    "load": load,
    "queue_depth": _read("waiting"),
    "gpu_util": _read("gpu"),
    "kv_util": _read("kv"),
    "headroom": headroom,
    "error_rate": error_rate,
}
"""The second argument is the moment before which a reading says nothing."""
FORECAST: Mapping[str, Callable[[Scene, UpstreamState], float | None]] = {"wait_ms": wait_ms, "ttft_ms": ttft_ms}
REASONS: Mapping[str, Reason] = {
    "load": "slo_limit",
    "ttft_ms": "slo_limit",
    "queue_depth": "queue_wait",
    "wait_ms": "queue_wait",
    "kv_util": "kv_pressure",
    "gpu_util": "spill_when",
    "headroom": "spill_when",
    "error_rate": "spill_when",
}
"""Why a request left for a bought API where this filter left nobody at home. What the contract has no word of its own
for is `spill_when`, a threshold of the user's; the receipt's drops name it."""


_WHY: Mapping[str, Reason] = {**REASONS, BELOW: "spill_when"}


def standing_break(thresholds: Iterable[Threshold], state: UpstreamState, since: float) -> str | None:
    """The signal of the first threshold that the upstream breaks by policy and snapshot alone."""
    for threshold in thresholds:
        read = STANDING.get(threshold.signal)
        value = None if read is None else read(state, since)
        if value is not None and not satisfied(threshold, value):
            return threshold.signal
    return None


def forecast_break(thresholds: Iterable[Threshold], at: Scene, state: UpstreamState) -> str | None:
    """The signal of the first threshold that it would break with this request."""
    for threshold in thresholds:
        foresee = FORECAST.get(threshold.signal)
        value = None if foresee is None else foresee(at, state)
        if value is not None and not satisfied(threshold, value):
            return threshold.signal
    return None


def broken(drops: Mapping[str, int]) -> Reason | None:
    """Why nobody was left, where filters dropped any: by the one that dropped the most."""
    counts = [(drops[signal], reason) for signal, reason in _WHY.items() if signal in drops]
    return max(counts, key=lambda one: one[0])[1] if counts else None
