"""How long prompts and answers are: from a trace of real traffic, or from a mixture of the same shape; in tokens."""

from __future__ import annotations

import csv
import json
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

OUTPUT_SCALE = 0.5
"""The demo's workers write 20 tokens a second, so an answer of 211 tokens would hold its seat for 11 s. Halved, a run
of two minutes sees enough requests for a p95, and the fleet follows the ramps."""
LONGEST_OUTPUT = 240
"""After scaling; longer answers would keep the run waiting at its end. It cuts 2 % of the conversation trace."""
LONGEST_PROMPT = 7_500
"""The demo's workers take 8,192 tokens with the answer; longer prompts are cut there."""


class TraceFault(Exception):
    """The trace cannot be read; the message says what was expected."""


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

COLUMNS = (
    ("ContextTokens", "GeneratedTokens"),  # Azure LLM inference, 2023 and 2024
    ("Request tokens", "Response tokens"),  # BurstGPT
    ("input_length", "output_length"),  # Mooncake (JSON lines)
)


def builtin(rng: random.Random) -> Lengths:
    """One draw from MIXTURE."""
    part = rng.choices(MIXTURE, [part.weight for part in MIXTURE])[0]
    prompt = rng.lognormvariate(math.log(part.prompt), part.prompt_sigma)
    output = rng.lognormvariate(math.log(part.output), part.output_sigma)
    return Lengths(max(1, round(prompt)), max(1, round(output)))


def from_trace(rows: Sequence[Lengths]) -> Callable[[random.Random], Lengths]:
    """Draws whole rows, so that prompt and output stay together."""
    return lambda rng: rng.choice(rows)


def scaled(drawn: Lengths) -> Lengths:
    """What is sent to the demo: the answer scaled down, both bounded."""
    output = round(drawn.output * OUTPUT_SCALE)
    return Lengths(min(LONGEST_PROMPT, max(1, drawn.prompt)), min(LONGEST_OUTPUT, max(1, output)))


def read_trace(path: Path) -> list[Lengths]:
    """Every request of an Azure or BurstGPT CSV or a Mooncake JSONL file. Raises TraceFault."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.read(1)
            file.seek(0)
            records: Iterator[dict[str, str]] = map(json.loads, file) if first == "{" else csv.DictReader(file)
            rows = [_lengths(record) for record in records]
    except OSError as fault:
        raise TraceFault(f"{path}: {fault.strerror or fault}") from None
    except (ValueError, TypeError):
        raise TraceFault(f"{path}: a row does not hold two whole numbers of tokens") from None
    rows = [row for row in rows if row.prompt > 0 and row.output > 0]
    if not rows:
        raise TraceFault(f"{path}: no requests in it")
    return rows


def _lengths(record: dict[str, str]) -> Lengths:
    for prompt, output in COLUMNS:
        if prompt in record and output in record:
            return Lengths(int(record[prompt]), int(record[output]))
    known = " or ".join(f"`{prompt}` and `{output}`" for prompt, output in COLUMNS)
    raise TraceFault(f"the trace needs the columns {known}")
