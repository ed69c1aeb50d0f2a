"""The second look at what failed: few, and nothing that keeps a promise about money or residency."""

from __future__ import annotations

import pytest

from tests.suite import MOST, second_look

ONE = "tests/edge/test_protocol.py::test_a_crowd_of_slow_callers_does_not_stop_the_others"


@pytest.mark.parametrize(
    ("failed", "again"),
    [
        ([], []),
        ([ONE], [ONE]),
        ([f"tests/edge/test_a.py::test_{number}" for number in range(MOST + 1)], []),
        ([ONE, "tests/money/test_till.py::test_never_overspent"], []),
        (["tests/residency_test.py::test_flagged"], []),
    ],
    ids=["none", "one", "too-many", "money", "residency"],
)
def test_a_second_look_is_for_few_and_for_no_promise(failed: list[str], again: list[str]) -> None:
    assert second_look(failed) == again
