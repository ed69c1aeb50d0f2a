"""The fast scenarios of the chaos kit, as `make chaos` runs them."""

from __future__ import annotations

import pytest

from loadtests.chaos import scenarios
from loadtests.chaos.__main__ import run
from loadtests.chaos.scenario import SCENARIOS

assert scenarios.__all__


@pytest.mark.parametrize("name", [one.name for one in SCENARIOS.values() if one.fast])
def test_scenario(name: str) -> None:
    result = run(SCENARIOS[name])
    assert result.verdict == "held", result
