"""What counts as an attempt."""

from __future__ import annotations

import pytest

from gateway.edge.forward import MOST_UNREACHED, _attempts_left
from gateway.errors import ConnectFailed, Reset, UpstreamFault

REFUSED, RESET = ConnectFailed("refused"), Reset("gone")


@pytest.mark.parametrize(
    ("faults", "left"),
    [
        ([], True),
        ([RESET] * 2, True),
        ([RESET] * 3, False),
        ([RESET, *[REFUSED] * 5, RESET], True),
        ([*[REFUSED] * (MOST_UNREACHED - 1)], True),
        ([*[REFUSED] * MOST_UNREACHED], False),
    ],
)
def test_a_refused_connection_is_no_attempt_as_long_as_there_are_not_too_many(
    faults: list[UpstreamFault], left: bool
) -> None:
    assert _attempts_left([(f"w{number}", fault) for number, fault in enumerate(faults)], 3) is left
