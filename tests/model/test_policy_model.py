"""A fast slice of `make policy-model`: half a minute of simulated time per folder, one seed, built-in lengths."""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path
from random import Random

import pytest

from gateway.model import Reservation, Spill
from gateway.policy.compile import compile_folder
from loadtests.model.policies.__main__ import READY_MADE, run, write
from loadtests.model.policies.clock import SimulatedLoop, Stuck
from loadtests.model.policies.figures import Figures
from loadtests.model.policies.mix import PATTERNS, Pattern, wishes
from loadtests.model.policies.play import play
from loadtests.model.policies.table import Made
from loadtests.model.policies.till import Purse
from loadtests.model.traffic import source

POLICIES = Path(__file__).parents[2] / "policies"
CHATS = source("conversation", None)
BUSY = Pattern("busy", ((15.0, 1.6),))
WAVE = Pattern("wave", ((6.0, 0.3), (6.0, 1.8)) * 2)


@cache
def played(folder: str, pattern: Pattern) -> Figures:
    return play(compile_folder(POLICIES / folder, env=None), pattern, CHATS, 1)


@pytest.mark.parametrize("folder", READY_MADE)
def test_nothing_flagged_leaves_and_every_request_has_one_end(folder: str) -> None:
    policy = compile_folder(POLICIES / folder, env=None)
    got = played(folder, BUSY)
    assert got.asked == sum(1 for _ in wishes(policy, BUSY, CHATS, Random("busy 1")))
    assert got.flagged > 50
    assert got.flagged_left == 0


def test_a_folder_without_apis_never_spills_and_costs_nothing() -> None:
    got = played("air-gapped", BUSY)
    assert (got.spilled, got.usd_per_hour, got.cost) == (0, 0, 0)


def test_saving_costs_less_and_speed_attains_as_much() -> None:
    cheap, quick = played("cost-saver", BUSY), played("latency-first", BUSY)
    assert 0 < cheap.usd_per_hour < quick.usd_per_hour
    assert cheap.cost <= 0.3
    assert quick.chat >= cheap.chat
    assert quick.p95 < cheap.p95


@pytest.mark.parametrize("folder", ["local-first", "latency-first"])
def test_a_square_wave_turns_a_route_no_more_often_than_it_turns_itself(folder: str) -> None:
    got = played(folder, WAVE)
    assert got.spilled > 0.1
    assert got.switches <= 60 / 6


def test_the_same_seed_gives_the_same_figures_and_the_same_traffic() -> None:
    short = Pattern("short", ((5.0, 1.0),))
    policies = [compile_folder(POLICIES / name, env=None) for name in ("local-first", "air-gapped")]
    assert play(policies[0], short, CHATS, 3) == play(policies[0], short, CHATS, 3)
    one, other = ([wish.ask for wish in wishes(policy, short, CHATS, Random(1))] for policy in policies)
    assert one == other


def test_what_is_played_is_told_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run([POLICIES / "air-gapped"], [Pattern("short", ((3.0, 1.0),))], CHATS, 2)
    assert "| short | 100.0% |" in capsys.readouterr().out
    page = tmp_path / "air-gapped" / "README.md"
    page.parent.mkdir()
    page.write_text("# air-gapped\n<!-- figures -->\n<!-- /figures -->\n")
    write(tmp_path, found, Made(seeds=2, traces=True))
    assert "| short | 100.0% |" in page.read_text()
    assert "make policy-model TRACES=DIR" in page.read_text()


def test_night_brings_batch() -> None:
    night = Pattern("night", ((10.0, 1.0), (10.0, 1.0)), nightly=10.0)
    made = list(wishes(compile_folder(POLICIES / "local-first", env=None), night, CHATS, Random(1)))

    def share(begin: float) -> float:
        seen = [wish.request.priority == "batch" for wish in made if begin <= wish.ask.at < begin + 10]
        return sum(seen) / len(seen)

    assert share(0.0) < 0.3
    assert share(10.0) > 0.4


def test_patterns_have_names_of_their_own() -> None:
    assert len({one.name for one in PATTERNS}) == len(PATTERNS)


def test_the_clock_jumps_to_the_next_timer_and_says_when_there_is_none() -> None:
    loop = SimulatedLoop()
    try:
        loop.run_until_complete(asyncio.sleep(3600))
        assert loop.time() == pytest.approx(3600)
        with pytest.raises(Stuck):
            loop.run_until_complete(loop.create_future())
    finally:
        loop.close()


async def test_a_purse_has_an_hour_and_knows_what_was_really_spent() -> None:
    now = [1_000_000.0]
    purse, bounds = Purse(lambda: now[0]), Spill(("api",), budget_usd_per_hour=1.0)
    held = await purse.reserve("r", 0.6, bounds)
    assert isinstance(held, Reservation)
    assert await purse.reserve("r", 0.6, bounds) == "budget"
    assert isinstance(await purse.reserve("other", 0.6, bounds), Reservation)
    purse.settle(held, 0.1)
    assert isinstance(await purse.reserve("r", 0.6, bounds), Reservation)
    now[0] += 62 * 60
    assert isinstance(await purse.reserve("r", 0.9, bounds), Reservation)


async def test_a_purse_lets_a_share_of_the_last_minutes_leave() -> None:
    now = [1_000_000.0]
    purse, bounds = Purse(lambda: now[0]), Spill(("api",), max_share=0.25)
    for _ in range(20):
        purse.arrived("r")
    assert [isinstance(await purse.reserve("r", 1.0, bounds), Reservation) for _ in range(6)] == [True] * 5 + [False]
    now[0] += 6 * 60
    assert isinstance(await purse.reserve("r", 1.0, bounds), Reservation), "a few may leave before many came"
