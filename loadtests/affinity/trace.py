"""Multi-turn traffic in the format of the Mooncake traces (Qin et al., FAST 2025): one JSON object a line with
`timestamp` (ms), `input_length`, `output_length` (tokens) and `hash_ids`, one for each 512 tokens of the prompt, equal
where the prompts are equal up to there."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from random import Random

BLOCK_TOKENS = 512
MEAN_INPUT, MEAN_OUTPUT = 12_035, 343
"""Of the published conversation trace, whose prompts are 40 % alike with earlier ones; the generated one comes near."""
APPS = (1, 2, 3, 4, 6, 8)
"""Lengths of the system prompts in blocks; the first are the most popular (Zipf)."""
FIRST_MEDIAN, FIRST_SIGMA = 3_600.0, 1.2
"""Tokens of a conversation's first question, mostly pasted text."""
NEXT_MEDIAN, NEXT_SIGMA = 500.0, 1.3
OUTPUT_MEDIAN, OUTPUT_SIGMA = 250.0, 0.8
MORE_TURNS = 0.6
"""Chance that a conversation goes on: two and a half turns on average."""
PAUSE_MEDIAN, PAUSE_SIGMA = 30.0, 0.8
"""Seconds that its user takes to read and write."""
LONGEST = 120_000
"""Tokens of a prompt; the published trace ends at 123,192."""


class TraceFault(Exception):
    """The file is not such a trace."""


@dataclass(frozen=True, slots=True)
class Row:
    """One request; `at` in seconds."""

    at: float
    prompt: int
    output: int
    blocks: tuple[int, ...]


@dataclass(slots=True)
class _Talk:
    app: int
    ids: list[int] = field(default_factory=list)
    """Of the blocks that are whole."""
    tokens: int = 0


def read(path: Path, most: int) -> list[Row]:
    """The first `most` requests of a file. Raises TraceFault."""
    rows = []
    try:
        with path.open() as file:
            for line, _ in zip(file, range(most), strict=False):
                told = json.loads(line)
                ids = tuple(int(one) for one in told["hash_ids"])
                rows.append(Row(told["timestamp"] / 1000, int(told["input_length"]), int(told["output_length"]), ids))
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise TraceFault(f"{path}: not a readable Mooncake trace ({type(fault).__name__})") from None
    return sorted(rows, key=lambda row: row.at)


def lines(rows: list[Row]) -> Iterator[str]:
    for row in rows:
        told = {"timestamp": round(row.at * 1000), "input_length": row.prompt, "output_length": row.output}
        yield json.dumps({**told, "hash_ids": row.blocks})


def generate(talks_per_second: float, seconds: float, seed: int) -> list[Row]:
    """Conversations that begin at random within `seconds`, each told to its end."""
    rng, numbers, rows = Random(seed), count(1), list[Row]()
    shared = [[next(numbers) for _ in range(size)] for size in APPS]
    weights = [1 / (1 + rank) for rank in range(len(APPS))]
    due: list[tuple[float, int, _Talk]] = []
    at = 0.0
    while (at := at + rng.expovariate(talks_per_second)) < seconds:
        app = rng.choices(range(len(APPS)), weights)[0]
        talk = _Talk(app, list(shared[app]), len(shared[app]) * BLOCK_TOKENS)
        heappush(due, (at, len(due), talk))
    order = count(len(due))
    while due:
        at, _, talk = heappop(due)
        first = talk.tokens == len(shared[talk.app]) * BLOCK_TOKENS
        talk.tokens += _draw(rng, FIRST_MEDIAN if first else NEXT_MEDIAN, FIRST_SIGMA if first else NEXT_SIGMA)
        if talk.tokens > LONGEST:
            continue
        output = _draw(rng, OUTPUT_MEDIAN, OUTPUT_SIGMA)
        rows.append(_row(at, talk, output, numbers))
        talk.tokens += output
        if rng.random() < MORE_TURNS:
            pause = rng.lognormvariate(math.log(PAUSE_MEDIAN), PAUSE_SIGMA)
            heappush(due, (at + output * SECONDS_PER_TOKEN + pause, next(order), talk))
    return rows


SECONDS_PER_TOKEN = 0.03


def _row(at: float, talk: _Talk, output: int, numbers: Iterator[int]) -> Row:
    """A block that is not full yet has another id each time."""
    while (len(talk.ids) + 1) * BLOCK_TOKENS <= talk.tokens:
        talk.ids.append(next(numbers))
    rest = () if len(talk.ids) * BLOCK_TOKENS == talk.tokens else (next(numbers),)
    return Row(at, talk.tokens, output, (*talk.ids, *rest))


def _draw(rng: Random, middle: float, sigma: float) -> int:
    return max(1, round(rng.lognormvariate(math.log(middle), sigma)))
