"""The guide's seven rows and the three walkthroughs, word for word: `python -m tests.plan.rows` writes them anew."""

from __future__ import annotations

from fractions import Fraction

import pytest

from gateway.plan.costs import GUIDE_TOKENS, guide_break_even
from gateway.plan.making import plan
from gateway.plan.report import WIDTH

from .rows import GOLDEN, ROWS, Row, printed, said


@pytest.mark.parametrize("name", ROWS)
def test_a_plan_reads_as_it_did(name: str) -> None:
    as_text, as_json = printed(ROWS[name])
    assert as_text == (GOLDEN / f"{name}.txt").read_text()
    assert as_json == (GOLDEN / f"{name}.json").read_text()
    assert max(map(len, as_text.splitlines())) <= WIDTH


def test_no_golden_file_is_left_behind() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {f"{name}.{kind}" for name in ROWS for kind in ("txt", "json")}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_a_row_leads_where_the_guide_says(row: Row) -> None:
    made = plan(row.answers)
    assert made.decision.architecture == row.architecture
    assert {each.bought.model for each in made.lines} >= set(row.bought)
    assert tuple(fleet.line.worker.kind for fleet in made.fleets) == row.gpus


def test_the_rates_of_the_guide() -> None:
    rates = {
        fleet.line.worker.kind: float(fleet.line.worker.usd_per_hour)
        for fleet in plan(ROWS["row-5-over-500m"].answers).fleets
    }
    assert rates == {"H100": 2.00, "H200": 2.60}


def test_the_guide_s_eleven_billion_tokens() -> None:
    """One H100 at $2.00 for 730 hours at three times its price, over $0.40 per million tokens."""
    even = guide_break_even()
    assert even.least == 10_950_000_000
    assert abs(even.least / GUIDE_TOKENS - 1) < 0.01
    assert even.most == 18_250_000_000


def test_the_hybrid_of_the_walkthrough_says_from_which_utilisation_on_it_pays() -> None:
    """$2.00 x 3 an hour over 3,600 images at $0.006 is 27.8 %; at five times 46.3 %: 75 % is above both."""
    made = plan(ROWS["walk-2-200m-images"].answers)
    assert [round(float(share), 3) for share in made.hybrid_pays_above] == [0.278, 0.463]
    assert made.cost("hybrid").usd.most < made.cost("managed").usd.least


def test_a_volume_that_nobody_said_is_told_of() -> None:
    (caution,) = plan(said(fine_tuned="video")).cautions
    assert caution == "Nobody said how much video is made: 2 workers are the least there can be."


def test_what_the_page_says_of_text_on_own_gpus() -> None:
    """An H200 at 70 % of its time, at three times its price; at five times never."""
    (text_line,) = plan(said(tokens=20_000_000_000)).lines
    assert (text_line.worker.kind, text_line.worker.gpus) == ("H200", 1)
    assert 0.69 < text_line.pays_above.least <= 0.70
    assert text_line.pays_above.most > 1


@pytest.mark.parametrize(
    ("gb", "kind", "gpus"),
    [(60, "H100", 1), (67, "H200", 1), (117, "H200", 1), (118, "H100", 2), (140, "H200", 2), (500, "H100", 8)],
)
def test_the_cheapest_worker_that_holds_the_model(gb: int, kind: str, gpus: int) -> None:
    """With a fifth of headroom: 80 GB hold 66.7 GB of weights, 141 GB hold 117.5; two H100 cost less than two H200."""
    (line,) = plan(said(fine_tuned="text", model_gb=Fraction(gb))).lines
    assert (line.worker.kind, line.worker.gpus) == (kind, gpus)
