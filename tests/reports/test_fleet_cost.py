"""The cost of our own GPUs, by hand: what stands idle is paid for too."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import US_PER_HOUR
from gateway.reports.fleet_cost import Fleet, part_of, per_unit, priced_at, together

FULL = Fleet("gpu", "H100", up=60, priced=60, rate_sum=60 * 2_000_000, work_us=US_PER_HOUR)


def test_a_full_hour_costs_what_it_costs() -> None:
    assert (FULL.rent, FULL.utilisation, FULL.full_hour, FULL.delivered_hour) == (2_000_000, 1, 2_000_000, 2_000_000)


def test_at_ten_per_cent_all_costs_ten_times_as_much() -> None:
    tenth = replace(FULL, work_us=US_PER_HOUR // 10)
    assert tenth.utilisation == Fraction(1, 10)
    assert tenth.delivered_hour == 10 * 2_000_000
    assert priced_at(US_PER_HOUR, 2_000_000, Fraction(1, 10)) == 10 * priced_at(US_PER_HOUR, 2_000_000, Fraction(1))


UNKNOWN = {
    "a minute without a rate": replace(FULL, priced=59),
    "never in the fleet": Fleet("gpu", work_us=5),
}


@pytest.mark.parametrize("fleet", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_what_nobody_told_is_unknown_not_free(fleet: Fleet) -> None:
    assert (fleet.rent, fleet.full_hour, fleet.delivered_hour) == (None, None, None)


def test_idle_has_a_rent_and_no_price() -> None:
    idle = replace(FULL, work_us=0)
    assert (idle.rent, idle.utilisation, idle.delivered_hour) == (2_000_000, 0, None)


def test_workers_of_a_backend_add_up() -> None:
    h200 = Fleet("gpu", "H200", gpus=8, up=30, priced=30, rate_sum=30 * 20_800_000, overhead=3.0, assumed=True)
    both = together([FULL, h200, Fleet("other")])["gpu"]
    assert (both.workers, both.gpus, both.gpu_kind, both.up) == (2, 9, "H100 + H200", 90)
    assert (both.rent, both.overhead, both.assumed) == (2_000_000 + 10_400_000, 3.0, True)
    assert both.utilisation == Fraction(2, 3)


def test_measured_use_is_what_the_gpus_told() -> None:
    assert replace(FULL, use_sum=1500, use_seen=2).measured_use == 0.75
    assert FULL.measured_use is None


def test_per_unit() -> None:
    """$2.00 for 800 images is $0.0025 each, for 10 million tokens $0.20 per million."""
    assert per_unit(2_000_000, {"images": 800, "tokens": 10_000_000, "seconds": 0.0}) == {
        "images": 2_500_000_000,
        "tokens": 200_000,
    }


@given(st.integers(0, 10**15), st.lists(st.integers(0, 10**12), min_size=1, max_size=8).filter(any))
def test_parts_of_a_rent_are_the_rent(rent: int, work: list[int]) -> None:
    """But for the rounding up of each."""
    parts = [part_of(rent, one, sum(work)) for one in work]
    assert rent <= sum(parts) <= rent + len(parts)
