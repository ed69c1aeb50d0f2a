"""Forecasts against what came, and what is shown of their error."""

from __future__ import annotations

from random import Random

import pytest

from gateway.edge.account import Attempt
from gateway.edge.calibration import Calibration, paces_of
from gateway.model import Lease, Usage
from gateway.routing.decide import decide
from gateway.telemetry import Telemetry
from tests.worlds import board, request

ASKED = request(stream=True, prompt_bytes=4200, max_tokens=101)


def values(telemetry: Telemetry, name: str) -> dict[str, float]:
    """By what was estimated."""
    return {
        sample.labels["what"]: sample.value
        for family in telemetry.collect()
        for sample in family.samples
        if sample.name == name
    }


def play(calibration: Calibration, slower: float, times: int = 1) -> None:
    """Streams that take `slower` times what a worker is assumed to take."""
    seen = board()
    decision = decide(ASKED, seen, Random(1))
    group = decision.primary[0]
    lease = Lease("id", group.candidates[0], group, "w1@0", decision)
    for _ in range(times):
        said = calibration.forecast(seen, ASKED, lease)
        assumed = Calibration(Telemetry()).forecast(seen, ASKED, lease)
        first, total = slower * assumed.first, slower * assumed.total
        attempt = Attempt("w1", "x", 50.0, ended=50.0 + total, first=50.0 + first, last=50.0 + total, tokens=101)
        calibration.heard(said, ASKED, lease, attempt, Usage(1100, 101), assumed.price)


def test_each_estimate_has_its_error() -> None:
    telemetry = Telemetry()
    play(Calibration(telemetry), slower=2.0)
    assert values(telemetry, "gateway_estimate_error_ratio_sum") == pytest.approx(
        {"prompt_tokens": 100 / 1100, "output_tokens": 0.0, "first_token": 0.5, "total": 0.5, "price": 0.0}
    )


def test_a_slow_worker_is_found_out() -> None:
    telemetry = Telemetry()
    calibration = Calibration(telemetry)
    play(calibration, slower=3.0, times=200)
    before = values(telemetry, "gateway_estimate_error_ratio_sum")["total"]
    play(calibration, slower=3.0, times=100)
    assert values(telemetry, "gateway_estimate_error_ratio_sum")["total"] - before < 0.02 * 100


def test_half_and_nine_tenths_of_the_errors_are_shown() -> None:
    telemetry = Telemetry()
    calibration = Calibration(telemetry)
    for was in (1.0,) * 8 + (2.0,) * 2:
        calibration.waited(1.0, was)
    calibration.waited(1.0, 0.0)
    rows = {
        sample.labels["quantile"]: sample.value
        for family in telemetry.collect()
        for sample in family.samples
        if sample.name == "gateway_estimate_error_quantile"
    }
    assert rows["0.5"] <= 0.02
    assert 0.3 < rows["0.9"] <= 0.5


def test_what_an_attempt_tells_of_its_pace() -> None:
    assert paces_of(Attempt("w", "x", 1.0, ended=3.0), 10) == (None, None)
    assert paces_of(Attempt("w", "x", 1.0, ended=3.0, first=1.5, last=1.5), 1) == (0.5, None)
    assert paces_of(Attempt("w", "x", 1.0, ended=3.0, first=1.5, last=3.0), 4) == (0.5, 0.5)
