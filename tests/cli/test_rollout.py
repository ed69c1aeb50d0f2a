"""What `gateway rollout --status` says."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.cli.rollout import report

COUNTED = {"same": 0, "different": 0, "renamed": 0, "tried": 0, "kept": 0, "fields": {}, "examples": []}


def told(mode: str, share: float = 0.0, **counted: Any) -> list[str]:
    trial = {"version": "b", "mode": mode, "share": share}
    page = {"in_force": "a", "candidate": trial, "replicas": 2, "replicas_trying": 1}
    return report(page | COUNTED | counted)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            told("share", 0.5, tried=5, kept=7),
            ["candidate: b, for 50% of the sessions, on 1 of 2 replicas", "decided by the candidate: 5 of 12 (41.67%)"],
        ),
        (
            told("share", 0.005),
            ["candidate: b, for 0.5% of the sessions, on 1 of 2 replicas", "decided by the candidate: 0 of 0"],
        ),
        (
            told("shadow", same=6, different=1, renamed=3, fields={"backend": 1}),
            [
                "candidate: b, in the shadow, on 1 of 2 replicas",
                "decided differently: 1 of 10 (10.00%)",
                "only the name of the rule: 3",
                "  backend: 1",
            ],
        ),
    ],
)
def test_a_trial(lines: list[str], said: list[str]) -> None:
    assert lines == ["in force: a", *said]
