"""The comparison of `make affinity`, small, and what it stands on."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from loadtests.affinity.__main__ import AFFINE, good
from loadtests.affinity.site import (
    BYTES_PER_BLOCK,
    Cache,
    Figures,
    Gateways,
    RoundRobin,
    begins_of,
    endless,
    policy_of,
    run,
)
from loadtests.affinity.trace import BLOCK_TOKENS, MEAN_INPUT, MEAN_OUTPUT, Row, TraceFault, generate, lines, read

ROWS = generate(3.0, 100.0, 7)


def test_the_generated_trace_looks_like_the_published_one() -> None:
    assert sum(row.prompt for row in ROWS) / len(ROWS) == pytest.approx(MEAN_INPUT, rel=0.3)
    assert sum(row.output for row in ROWS) / len(ROWS) == pytest.approx(MEAN_OUTPUT, rel=0.2)
    assert all(len(row.blocks) == -(-row.prompt // BLOCK_TOKENS) for row in ROWS)
    assert sorted(row.at for row in ROWS) == [row.at for row in ROWS]
    assert generate(3.0, 100.0, 7) == ROWS


def test_a_trace_is_written_and_read_in_the_same_format(tmp_path: Path) -> None:
    place = tmp_path / "trace.jsonl"
    place.write_text("\n".join(lines(ROWS)))
    again = read(place, 100)
    assert [row.blocks for row in again] == [row.blocks for row in ROWS[:100]]
    place.write_text("{}")
    with pytest.raises(TraceFault):
        read(place, 100)


def test_a_cache_keeps_beginnings_and_evicts_ends() -> None:
    cache = Cache(3)
    assert [cache.read((1, 2, 3)), cache.read((1, 2, 9)), cache.read((1, 2, 3))] == [0, 2, 2]
    assert Cache(None).read((1,)) == 0


def test_equal_blocks_are_equal_beginnings() -> None:
    one, other = Row(0, 3 * BLOCK_TOKENS, 1, (1, 2, 3)), Row(0, 3 * BLOCK_TOKENS, 1, (1, 2, 4))
    same = [a == b for a, b in zip(begins_of(one), begins_of(other), strict=True)]
    assert same == sorted(same, reverse=True)
    assert 0 < sum(same) < len(same)
    assert BYTES_PER_BLOCK % BLOCK_TOKENS == 0


def test_the_gateway_keeps_nine_tenths_of_the_hits_and_the_balance() -> None:
    most = endless(ROWS)
    made = run(ROWS, 4, Gateways(policy_of(4, AFFINE), Random(1)))
    assert made.hits >= 0.9 * most
    assert run(ROWS, 4, RoundRobin()).hits < 0.7 * most
    assert sum(made.requests) == len(ROWS), "each is served once"
    assert all(load > 0 for load in made.load)


def test_the_verdict() -> None:
    assert good(Figures(90, [1.25, 0.75], [1, 1], 0), 100)
    assert not good(Figures(89, [1.0, 1.0], [1, 1], 0), 100)
    assert not good(Figures(100, [1.26, 0.74], [1, 1], 0), 100)
