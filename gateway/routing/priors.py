"""What we assume about a worker until its own traffic tells better: constants and three small formulas.

Source of every figure unless it says otherwise: measured with the step-level model, docs/adr. A step of a worker takes
`step_ms + per_seq_ms * sequences + per_prompt_token_ms * prompt tokens`; work is GPU time in microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.model import Speed

SPEED_BY_GPU: Mapping[str, Speed] = {
    "H100": Speed(step_ms=8.0, per_seq_ms=0.06, per_prompt_token_ms=0.04),
    "H200": Speed(step_ms=7.0, per_seq_ms=0.05, per_prompt_token_ms=0.04),
}
"""Milliseconds, for a 70B-class model in 8-bit weights. `gpu.kind` of a backend picks the row, `speed` replaces it."""

MEMORY_GB: Mapping[str, float] = {"H100": 80.0, "H200": 141.0}
"""Of one GPU, in 10^9 bytes, as its vendor's data sheet says; `gpu.memory_gb` replaces it."""

DEFAULT_SPEED = SPEED_BY_GPU["H100"]
"""For a GPU kind without a row."""

TYPICAL_PROMPT_TOKENS = 1155
TYPICAL_OUTPUT_TOKENS = 211
"""Means of the Azure 2023 conversation trace."""

FILL = 0.75
"""Share of the seats that may be busy with typical requests before a chat SLO breaks; a fixed limit starts there."""

_US_PER_MS = 1000
_MIN_BATCH = 1.0


def speed_of(gpu: str | None) -> Speed:
    """The prior for a GPU kind as written in the policy (`H100`), or the default."""
    return DEFAULT_SPEED if gpu is None else SPEED_BY_GPU.get(gpu, DEFAULT_SPEED)


def work_us(speed: Speed, seats: int, prompt_tokens: int, output_tokens: int) -> int:
    """GPU-us that a request takes at a healthy batch, which is half of `seats` (never less than one sequence).

    `per_prompt_token_ms * prompt + (step_ms / batch + per_seq_ms) * output`: an H100 with 128 seats gives 0.04 ms per
    prompt token and 0.185 ms per output token.
    """
    batch = max(_MIN_BATCH, seats / 2)
    ms = speed.per_prompt_token_ms * prompt_tokens + (speed.step_ms / batch + speed.per_seq_ms) * output_tokens
    return max(1, round(ms * _US_PER_MS))


def prior_limit_us(speed: Speed, seats: int) -> int:
    """GPU-us of leased work that a worker may hold at first: FILL of its seats, at least one typical request."""
    typical = work_us(speed, seats, TYPICAL_PROMPT_TOKENS, TYPICAL_OUTPUT_TOKENS)
    return max(typical, round(FILL * seats * typical))
