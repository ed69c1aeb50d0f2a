"""A slice of `make prove-budget`: real replicas that are killed, a real store, an API with a bill of its own."""

from __future__ import annotations

from pathlib import Path

from loadtests.spendproof.judge import holds, judge
from loadtests.spendproof.run import Plan, prove

SMALL = Plan(count=2_500, clients=16, replicas=2, usd="0.08", seed=2, between_kills=(0.2, 0.6))


def test_no_budget_is_overspent_and_all_books_agree(tmp_path: Path) -> None:
    seen = prove(tmp_path, SMALL, lambda _: None)
    assert holds(seen), (seen.wrong, [line for line in judge(seen) if not line.holds])
