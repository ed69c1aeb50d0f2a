"""One frame of `gateway top`: what is not known, and what no rule took."""

from __future__ import annotations

from gateway.cli.top_text import REFUSED_BEFORE, frame, head, rules
from gateway.console.live.told import Told
from gateway.flow import NO_RULE


def test_requests_that_no_rule_took_are_called_so() -> None:
    told = Told()
    told.take("flow", {"all": True, "minutes": [60], "rules": {NO_RULE: {"refused": [3]}, "chat": {"local": [1]}}})
    assert [line.split("  ")[0] for line in rules(told)[1:]] == [REFUSED_BEFORE, "chat"]


def test_money_that_was_not_told_is_not_a_number() -> None:
    told = Told()
    assert "today: the ledger has not answered yet" in head(told)
    spent = {"managed": 1.02, "own": None}
    told.take("money", {"spent_usd": spent, "saved_usd": None, "simulated": True, "budgets": []})
    assert "today bought $1.02 (simulated), own GPUs -, saved -" in frame(told)
