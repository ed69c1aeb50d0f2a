"""A fast slice of `python -m loadtests.model`: 4 workers, built-in lengths, one seed, fewer grid points."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from gateway.model import Slo
from loadtests.model import hindsight
from loadtests.model.rules import FixedWork, Gauge, LearnedLimit, NoSpill, make_policy
from loadtests.model.run import Rule, Tally, simulate
from loadtests.model.scenarios import BASE, CHAT, CODE, CONV, PROMPT_HEAVY, SQUARE, Scenario
from loadtests.model.traffic import source

SOURCES = {name: source(name, None) for name in (CONV, "code")}
STEADY = Scenario("steady", CONV, CHAT, phases=((60.0, 1.2),))
LONG_PROMPTS = Scenario("code", "code", CODE, phases=((60.0, 0.9),))
WRONG_PRIOR = Scenario("prompt-heavy", CONV, Slo(1.0, 0.040), phases=((90.0, 1.2),), hardware=PROMPT_HEAVY)
WAVE = Scenario("wave", CONV, CHAT, phases=SQUARE[:4], changing=True)


def learned(scenario: Scenario) -> LearnedLimit:
    return LearnedLimit(make_policy(scenario.workers, scenario.slo), Random(1))


def play(scenario: Scenario, rule: Rule | None = None) -> Tally:
    return simulate(scenario, SOURCES[scenario.src], rule or learned(scenario), 1)


def best_fixed(scenario: Scenario, attained: float) -> hindsight.Point:
    return hindsight.best(
        lambda most, seed: simulate(scenario, SOURCES[scenario.src], FixedWork(Random(seed), most=most), seed),
        hindsight.grid(0.3e6, 8e6, 12),
        {1: attained},
    )


@pytest.mark.parametrize("scenario", [STEADY, LONG_PROMPTS], ids=lambda one: one.name)
def test_steady_load_is_held_at_the_cost_of_the_best_fixed_limit(scenario: Scenario) -> None:
    got = play(scenario)
    assert got.attained >= 0.975
    assert got.cost <= 1.3 * best_fixed(scenario, got.attained)[1]


def test_learning_makes_up_for_a_wrong_prior() -> None:
    rule = learned(WRONG_PRIOR)
    assert play(WRONG_PRIOR, rule).attained >= 0.97
    assert rule.scale < 0.9, "this fleet is slower than the prior says"


def test_a_square_wave_is_held_and_its_light_phases_stay_at_home() -> None:
    got = play(WAVE)
    assert got.attained >= 0.975
    assert got.light > 500
    assert got.light_spill < 0.02


def test_replicas_that_see_each_others_votes_late_hold_it_too() -> None:
    policy = make_policy(WAVE.workers, WAVE.slo)
    got = play(WAVE, LearnedLimit(policy, Random(1), replicas=8))
    assert got.attained >= 0.975
    assert got.light_spill < 0.02


def test_light_load_never_spills_whatever_came_before() -> None:
    got = play(replace(WAVE, phases=((20.0, 1.8), (60.0, 0.3))))
    assert got.light_spill < 0.02


def test_without_spill_and_by_the_waiting_gauge_the_slo_is_lost() -> None:
    """The reason for all this: the engine's own queue is far too late a signal."""
    rules: list[Rule] = [NoSpill(Random(1)), Gauge(Random(1))]
    for rule in rules:
        assert play(STEADY, rule).attained < 0.6


def test_classes_share_a_worker_and_others_on_it_are_seen() -> None:
    mixed = replace(STEADY, name="mixed", mix={"interactive": 0.3, "standard": 0.5, "batch": 0.2})
    assert play(mixed).attained >= 0.975
    others = Scenario("others", CONV, CHAT, phases=((60.0, 0.8),), outside=(15.0, 45.0, 0.4))
    alone, beside = play(replace(others, outside=None)), play(others)
    assert beside.cost > alone.cost
    assert beside.attained >= 0.96


def test_every_request_has_one_end_and_every_lease_is_given_back() -> None:
    rule = learned(STEADY)
    got = play(STEADY, rule)
    assert got.local + got.spilled == got.asked
    assert rule.learned.seen == got.local
    assert BASE.seats == 128
