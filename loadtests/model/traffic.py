"""Who asks when, and for how much: traces replayed faster, or their lengths at a pace of our own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from random import Random

from gateway.model import Priority
from loadtests.lengths import Lengths, builtin
from loadtests.traces import read

FILES = {"conversation": "azure_llm_2023_conv.csv", "code": "azure_llm_2023_code.csv"}
BYTES_PER_TOKEN = {"conversation": 4.4, "code": 3.4}
"""What the gateway has to find out: it starts at 4.2. Assumed, as the traces hold no text."""
BYTES_SIGMA = 0.15
"""Spread of bytes per token between requests (of the logarithm)."""
HOUR = 3600.0
BUILTIN_ROWS = {"conversation": 19_366, "code": 8_819}
"""Requests in the hour of each trace; without the files as many are drawn."""
CODE = (1470.0, 0.8, 13.0, 1.1)
"""Log-normal prompt and output (median, sigma) for the code trace; means 2,020 and 24 (of the trace: 2,048 and 28)."""
LONGEST_PROMPT, LONGEST_OUTPUT = 14_050, 1_899
"""The longest of the two traces."""


@dataclass(frozen=True, slots=True)
class Source:
    """An hour of traffic: arrival in seconds, and lengths in tokens, in order of arrival."""

    name: str
    rows: tuple[tuple[float, Lengths], ...]

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.rows) / HOUR


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: arrival, lengths in tokens, and what the gateway sees of them (`text` bytes of prompt)."""

    at: float
    prompt: int
    output: int
    text: int
    priority: Priority = "standard"
    stream: bool = True


Pace = tuple[tuple[float, float], ...]
"""Phases as (seconds, requests per second)."""


def source(name: str, traces: Path | None) -> Source:
    """The trace of that name, or without a folder one of the same shape. Raises TraceFault."""
    if traces is None:
        rng = Random(name)
        draw = builtin if name == "conversation" else _code
        rows = sorted((rng.uniform(0, HOUR), draw(rng)) for _ in range(BUILTIN_ROWS[name]))
        return Source(name, tuple(rows))
    return Source(name, tuple((row.at, row.lengths) for row in read(traces / FILES[name])))


def replay(src: Source, speed: float, copies: int, most: int, rng: Random) -> list[Ask]:
    """The first `most` requests of `copies` of the trace at once, each `speed` times as fast and from its own place
    on."""
    turn = []
    for _ in range(copies):
        offset = rng.uniform(0, HOUR)
        turn += [((at - offset) % HOUR / speed, lengths) for at, lengths in src.rows]
    turn.sort(key=itemgetter(0))
    return [_ask(src, at, lengths, rng) for at, lengths in turn[:most]]


def paced(src: Source, pace: Pace, cv: float, rng: Random) -> list[Ask]:
    """Lengths of the trace, arrivals with Gamma gaps (`cv` 1: Poisson) whose rate follows `pace`."""
    shape = 1 / cv**2
    asks, began, credit = [], 0.0, rng.gammavariate(shape, 1 / shape)
    for seconds, rate in pace:
        at = began
        while (at := at + credit / rate) < began + seconds:
            asks.append(_ask(src, at, rng.choice(src.rows)[1], rng))
            credit = rng.gammavariate(shape, 1 / shape)
        credit = (at - began - seconds) * rate
        began += seconds
    return asks


def _ask(src: Source, at: float, lengths: Lengths, rng: Random) -> Ask:
    ratio = BYTES_PER_TOKEN[src.name] * rng.lognormvariate(0, BYTES_SIGMA)
    return Ask(at, lengths.prompt, lengths.output, max(1, round(lengths.prompt * ratio)))


def _code(rng: Random) -> Lengths:
    prompt, prompt_sigma, output, output_sigma = CODE
    drawn = (rng.lognormvariate(math.log(prompt), prompt_sigma), rng.lognormvariate(math.log(output), output_sigma))
    return Lengths(max(1, min(LONGEST_PROMPT, round(drawn[0]))), max(1, min(LONGEST_OUTPUT, round(drawn[1]))))
