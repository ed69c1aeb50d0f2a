"""What holds for every plan, whatever the answers."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.plan.answers import MEDIA, VOLUME_KEYS, Answers, BadAnswer
from gateway.plan.decide import Architecture, decide
from gateway.plan.making import Plan, plan
from gateway.plan.report import data, text
from gateway.routing.priors import MEMORY_GB

from .rows import DAY

RANK: dict[Architecture, int] = {"managed": 0, "private": 0, "evaluate": 1, "hybrid": 2, "self": 3, "isolated": 4}
"""The further down, the more is on own GPUs."""
MOST = 10**13
UNHURRIED = settings(deadline=None)
"""The machine may be busy with other things."""

volumes = st.integers(0, MOST)
shares = st.fractions(Fraction(1, 100), 1, max_denominator=100)
factors = st.fractions(1, 10, max_denominator=10)


@st.composite
def answers(draw: st.DrawFn, **fixed: Any) -> Answers:
    compliance = draw(st.sampled_from(("none", "compliance", "localisation")))
    fine_tuned = draw(st.none() | st.sampled_from(MEDIA))
    said: dict[str, Any] = {
        "today": DAY,
        "engineers": draw(st.sampled_from(("none", "some", "full"))),
        **{key: draw(volumes) for key in VOLUME_KEYS.values()},
        "compliance": compliance,
        "zone": "eu" if compliance == "localisation" else None,
        "fine_tuned": fine_tuned,
        "model_gb": None if fine_tuned is None else draw(st.none() | st.fractions(1, 3000, max_denominator=4)),
        "image_quality": draw(st.sampled_from(("low", "medium", "high"))),
        "utilisation": draw(shares),
        "baseline_share": draw(shares),
        "prompt_share": draw(shares),
        "overhead_min": (least := draw(factors)),
        "overhead_max": least + draw(factors) - 1,
    } | fixed
    try:
        return Answers(**said)
    except BadAnswer as fault:
        assume(fault.key != "tokens")
        raise


def amounts(made: Plan) -> list[Fraction]:
    return [amount for cost in made.costs for amount in cost.usd]


@UNHURRIED
@given(answers(), st.sampled_from(MEDIA), volumes)
def test_more_volume_never_leads_back_to_the_api(said: Answers, medium: Any, more: int) -> None:
    key = VOLUME_KEYS[medium]
    grown: Answers = replace(said, **{key: getattr(said, key) + more})
    assert RANK[decide(grown).architecture] >= RANK[decide(said).architecture]


@UNHURRIED
@given(answers())
def test_constraints_outweigh_everything(said: Answers) -> None:
    found = decide(said).architecture
    assert (found == "isolated") == (said.compliance == "localisation")
    assert (found == "self") == (said.fine_tuned is not None and said.compliance != "localisation")
    if said.engineers == "none":
        assert found in ("managed", "private", "self", "isolated")


@UNHURRIED
@given(answers())
def test_what_is_bought_under_compliance_is_bought_privately(said: Answers) -> None:
    made = plan(said)
    assert made.decision.private == (said.compliance == "compliance" and made.decision.buys)
    assert [cost.option for cost in made.costs if cost.chosen and cost.but] == []
    assert sum(cost.chosen for cost in made.costs) == 1


@UNHURRIED
@given(answers())
def test_memory_suffices(said: Answers) -> None:
    for each in plan(said).lines:
        made = each.worker
        assert made.gpus * Fraction(str(MEMORY_GB[made.kind])) == made.has_gb >= made.needs_gb
        assert made.needs_gb == made.model.gb * said.memory_headroom
        assert made.gpus & (made.gpus - 1) == 0


@UNHURRIED
@given(answers())
def test_fleets_make_what_they_are_asked_for(said: Answers) -> None:
    made = plan(said)
    share = said.baseline_share if made.decision.architecture == "hybrid" else Fraction(1)
    if made.decision.own_gpus:
        assert all(fleet.workers * fleet.line.capacity >= fleet.line.volume * share for fleet in made.fleets)


@UNHURRIED
@given(answers())
def test_costs_are_never_negative_and_ranges_go_up(said: Answers) -> None:
    made = plan(said)
    assert all(amount >= 0 for amount in amounts(made))
    assert all(cost.usd.least <= cost.usd.most for cost in made.costs)
    assert all(each.pays_above.least <= each.pays_above.most for each in made.lines)


@UNHURRIED
@given(answers(), st.sampled_from(MEDIA), volumes)
def test_costs_grow_with_the_volume(said: Answers, medium: Any, more: int) -> None:
    """Of a hybrid for one medium: which of several are made may change as one of them grows."""
    key = VOLUME_KEYS[medium]
    before, after = plan(said), plan(replace(said, **{key: getattr(said, key) + more}))
    alone = {each.medium for each in after.lines} == {medium}
    for cost, grown in zip(before.costs, after.costs, strict=True):
        if cost.option != "hybrid" or (alone and said.volume(medium)):
            assert cost.usd.least <= grown.usd.least
            assert cost.usd.most <= grown.usd.most


@UNHURRIED
@given(answers())
def test_busier_gpus_cost_no_more(said: Answers) -> None:
    busier = plan(replace(said, utilisation=Fraction(1)))
    assert busier.cost("self").usd.least <= plan(said).cost("self").usd.least


@UNHURRIED
@given(answers())
def test_workers_are_never_busier_than_they_were_sized_for(said: Answers) -> None:
    assert all(0 <= fleet.use <= said.utilisation for fleet in plan(said).fleets)


SMALL = st.integers(0, 10**8)
"""Volumes that lead to every band."""


@UNHURRIED
@given(answers(engineers="some", compliance="none", zone=None, fine_tuned=None, model_gb=None), SMALL, SMALL)
def test_nothing_is_praised_that_the_table_shows_to_be_dearer(said: Answers, images: int, seconds: int) -> None:
    assume(images or seconds)
    made = plan(replace(said, tokens=0, images=images, video_seconds=0, audio_seconds=seconds))
    assume(made.decision.architecture in ("evaluate", "hybrid"))
    told, hybrid, bought = " ".join(made.cautions), made.cost("hybrid").usd, made.cost("managed").usd
    if hybrid.least > bought.most:
        assert "stay with the API" in told
    assert ("A hybrid pays above" in told) <= (hybrid.most <= bought.least)


@UNHURRIED
@given(answers())
def test_every_plan_can_be_shown(said: Answers) -> None:
    made = plan(said)
    assert max(map(len, text(made).splitlines())) <= 80
    assert data(made)["architecture"] == made.decision.architecture
