"""How long prompts and answers are, in tokens: drawn from rows of a trace, or from a mixture of the same shape."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lengths:
    prompt: int
    output: int


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of request: log-normal prompt and output, given by median and sigma (of the logarithm)."""

    weight: float
    prompt: float
    prompt_sigma: float
    output: float
    output_sigma: float


MIXTURE = (
    Part(0.416, 330, 0.50, 94, 0.58),  # short questions, short answers
    Part(0.126, 1170, 0.14, 203, 0.85),  # middling prompts, answers of any length
    Part(0.283, 1070, 0.06, 404, 0.07),  # the trace's large cluster of long answers
    Part(0.175, 2930, 0.38, 71, 0.50),  # long contexts, short answers
)
"""Fitted to the 19,366 requests of AzureLLMInferenceDataset2023, conversation (Patel et al., "Splitwise", ISCA 2024),
by expectation maximisation on the logarithms, then rounded. Means of the mixture: prompt 1,160, output 212 tokens; of
the trace: 1,155 and 211."""


def builtin(rng: random.Random) -> Lengths:
    """One draw from MIXTURE."""
    part = rng.choices(MIXTURE, [part.weight for part in MIXTURE])[0]
    prompt = rng.lognormvariate(math.log(part.prompt), part.prompt_sigma)
    output = rng.lognormvariate(math.log(part.output), part.output_sigma)
    return Lengths(max(1, round(prompt)), max(1, round(output)))


def from_trace(rows: Sequence[Lengths]) -> Callable[[random.Random], Lengths]:
    """Draws whole rows, so that prompt and output stay together."""
    return lambda rng: rng.choice(rows)
