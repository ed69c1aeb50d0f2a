"""Traffic, grids and the comparison at equal attainment."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import fmean, pstdev

import pytest

from loadtests.model.hindsight import at_equal, best, crossing, grid
from loadtests.model.run import Tally
from loadtests.model.scenarios import BASE, CHAT, CONV, SCENARIOS, Scenario, mean_work
from loadtests.model.traffic import HOUR, paced, replay, source
from loadtests.traces import TraceFault

CHATS = source(CONV, None)


def test_built_in_traffic_has_the_means_of_the_trace() -> None:
    code = source("code", None)
    assert mean_work(CHATS, BASE.speed) == pytest.approx(0.0852, rel=0.03)
    assert fmean(lengths.prompt for _, lengths in code.rows) == pytest.approx(2048, rel=0.08)
    assert CHATS.rate == pytest.approx(5.38, rel=0.01)


def test_a_trace_is_read_in_order_and_replayed_faster(tmp_path: Path) -> None:
    rows = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    rows += [f"2023-11-16 18:{m:02d}:00.1234567,{100 + m},{m}" for m in range(59, 0, -1)]
    (tmp_path / "azure_llm_2023_conv.csv").write_text("\n".join(rows))
    read = source(CONV, tmp_path)
    assert [lengths.output for _, lengths in read.rows] == list(range(1, 60))
    asks = replay(read, 10, 2, 1000, Random(1))
    assert len(asks) == 2 * 59
    assert max(ask.at for ask in asks) <= HOUR / 10
    assert [ask.at for ask in asks] == sorted(ask.at for ask in asks)
    assert len(replay(read, 10, 2, 7, Random(1))) == 7


def test_an_unreadable_trace_says_so(tmp_path: Path) -> None:
    with pytest.raises(TraceFault, match="azure_llm_2023_conv"):
        source(CONV, tmp_path)


@pytest.mark.parametrize("cv", [1.0, 3.0])
def test_gaps_have_the_rate_and_the_spread_asked_for(cv: float) -> None:
    asks = paced(CHATS, ((300.0, 40.0),), cv, Random(3))
    gaps = [after.at - before.at for before, after in pairwise(asks)]
    assert len(asks) / 300 == pytest.approx(40, rel=0.1)
    assert pstdev(gaps) / fmean(gaps) == pytest.approx(cv, rel=0.1)


def test_a_pace_changes_the_rate() -> None:
    asks = paced(CHATS, ((50.0, 10.0), (50.0, 100.0)), 1.0, Random(3))
    assert sum(ask.at < 50 for ask in asks) == pytest.approx(500, rel=0.15)
    assert sum(ask.at >= 50 for ask in asks) == pytest.approx(5000, rel=0.1)


def test_light_phases_are_known() -> None:
    wave = Scenario("w", CONV, CHAT, phases=((10.0, 0.3), (10.0, 1.6)))
    assert [wave.light(at) for at in (5.0, 15.0, 25.0)] == [True, False, False]


def test_scenario_names_are_their_own() -> None:
    assert len({one.name for one in SCENARIOS}) == len(SCENARIOS)


def test_a_grid_goes_up_in_equal_ratios() -> None:
    points = grid(2, 128, 7)
    assert points == pytest.approx([2, 4, 8, 16, 32, 64, 128])


POINTS = [(0.999, 0.5), (0.99, 0.3), (0.95, 0.2), (0.5, 0.0)]


@pytest.mark.parametrize(
    ("wanted", "expected"), [(0.99, (0.99, 0.3)), (0.97, (0.97, 0.25)), (0.9999, (0.999, 0.5)), (0.4, (0.5, 0.0))]
)
def test_cost_at_equal_attainment(wanted: float, expected: tuple[float, float]) -> None:
    assert at_equal(POINTS, wanted) == pytest.approx(expected)


def test_the_crossing_is_the_highest_limit_that_attains_enough() -> None:
    assert crossing([0.999, 0.99, 0.95], 0.98) == 1
    assert crossing([0.9, 0.8], 0.98) == 0
    assert crossing([0.9, 0.95, 0.8], 0.98) == 1, "none does: the one that attains most"


def test_the_best_limit_is_found_though_seeds_differ() -> None:
    """Seed 2 attains less everywhere, so that the mean crosses at a lower limit than the first seed does."""

    def play(limit: float, seed: int) -> Tally:
        share = 1 - limit / 100 - (seed - 1) * 0.1
        return Tally(asked=1000, met=round(share * 1000), paid=10 - limit, all_sent_out=10)

    attained, cost = best(play, [float(n) for n in range(1, 10)], {1: 0.94, 2: 0.9})
    assert attained == pytest.approx(0.92)
    assert cost == pytest.approx(0.7)


def test_where_no_limit_attains_as_much_the_best_one_is_the_measure() -> None:
    """Not the lowest limit: it sends nearly all of it to the API, which attains less than a worker with room."""

    def play(limit: float, seed: int) -> Tally:
        return Tally(asked=1000, met=990 - round(abs(limit - 4) * 5), paid=10 - limit, all_sent_out=10)

    assert best(play, [float(n) for n in range(1, 10)], {1: 0.999, 2: 0.999}) == pytest.approx((0.99, 0.6))
