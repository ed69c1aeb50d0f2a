"""The assumptions, against the figures that they were taken from."""

from __future__ import annotations

import pytest

from gateway.model import Speed
from gateway.routing.priors import (
    DEFAULT_SPEED,
    FILL,
    SPEED_BY_GPU,
    TYPICAL_OUTPUT_TOKENS,
    TYPICAL_PROMPT_TOKENS,
    prior_limit_us,
    speed_of,
    work_us,
)

H100 = SPEED_BY_GPU["H100"]
WORK = [
    (H100, 128, 1, 0, 40),  # 0.04 ms per prompt token
    (H100, 128, 0, 1, 185),  # 0.185 ms per output token at a batch of 64
    (H100, 128, 1155, 211, 85_235),
    (H100, 256, 1155, 211, 72_048),
    (H100, 1, 0, 1, 8_060),  # a batch is never less than one sequence
    (Speed(42.0, 0.5, 0.04), 16, 0, 100, 575_000),  # the demo's worker
    (Speed(1.0, 0.0, 0.0), 128, 0, 0, 1),  # never nothing
]


@pytest.mark.parametrize(("speed", "seats", "prompt", "output", "expected"), WORK)
def test_work(speed: Speed, seats: int, prompt: int, output: int, expected: int) -> None:
    assert work_us(speed, seats, prompt, output) == expected


@pytest.mark.parametrize(
    ("gpu", "speed"), [("H100", H100), ("H200", Speed(7, 0.05, 0.04)), ("B300", H100), (None, H100)]
)
def test_speed(gpu: str | None, speed: Speed) -> None:
    assert speed_of(gpu) == speed


@pytest.mark.parametrize("seats", [2, 16, 128, 256])
def test_the_prior_limit_fills_a_share_of_the_seats(seats: int) -> None:
    typical = work_us(DEFAULT_SPEED, seats, TYPICAL_PROMPT_TOKENS, TYPICAL_OUTPUT_TOKENS)
    assert prior_limit_us(DEFAULT_SPEED, seats) == round(FILL * seats * typical)


def test_the_prior_limit_admits_one_request_on_the_smallest_worker() -> None:
    assert prior_limit_us(DEFAULT_SPEED, 1) == work_us(DEFAULT_SPEED, 1, TYPICAL_PROMPT_TOKENS, TYPICAL_OUTPUT_TOKENS)
