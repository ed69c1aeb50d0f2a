from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.fleet.outside import LAG_SECONDS, OutsideLoad


def watched(seconds: float, ours: int, shown: int, step: float = 0.5) -> tuple[OutsideLoad, float]:
    watch, now = OutsideLoad(), 0.0
    while now <= seconds:
        watch.leases(now, ours)
        watch.scrape(now, shown)
        now += step
    return watch, now


def test_what_is_there_beyond_our_leases_is_outside() -> None:
    watch, now = watched(12.0, ours=3, shown=8)
    assert watch.requests(now) == 5


def test_nothing_is_said_before_a_whole_lag_was_watched() -> None:
    watch, now = watched(LAG_SECONDS - 1, ours=0, shown=8)
    assert watch.requests(now) == 0


def test_our_own_traffic_stops_and_the_gauges_are_six_seconds_old() -> None:
    """The gauges go on showing our 10 requests for 6 s after the last lease ended: that is our past,
    not outside load."""
    watch = OutsideLoad()
    for tick in range(40):  # 10 s of our own load, shown correctly
        watch.leases(tick / 4, 10)
        watch.scrape(tick / 4, 10)
    for tick in range(40, 80):
        now = tick / 4
        watch.leases(now, 0)
        watch.scrape(now, 10 if now < 16.0 else 0)
        assert watch.requests(now) == 0


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 4)), min_size=60, max_size=80))
def test_gauges_that_trail_our_leases_by_less_than_the_lag_never_show_outside_load(
    steps: list[tuple[int, int]],
) -> None:
    watch, counts = OutsideLoad(), [count for count, _ in steps]
    for tick, (count, delay) in enumerate(steps):
        watch.leases(float(tick), count)
        watch.scrape(float(tick), counts[max(0, tick - delay)])
        assert watch.requests(float(tick)) == 0
