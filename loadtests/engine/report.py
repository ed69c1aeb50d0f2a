"""The findings as a page of the docs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

from loadtests.engine.ledger import Finding, Ledger

INTRO = (
    "Written by `make engine-test`: the gateway in front of a real engine, one worker with 8 seats, a simulated API "
    "beside it to take what spills. *Expected* is what the gateway promises, *seen* what it did. What "
    "a real llama.cpp does differently is in [llamacpp.md](llamacpp.md)."
)


def page(about: Mapping[str, str], ledger: Ledger) -> str:
    parts = [
        "# A real engine behind the gateway",
        INTRO,
        "\n".join(f"- {key}: {value}" for key, value in about.items()),
    ]
    for title, findings in groupby(ledger.findings, lambda finding: finding.section):
        parts += [f"## {title}", _table(list(findings))]
    return "\n\n".join([*parts, f"**{ledger.verdict()}**"]) + "\n"


def _table(findings: list[Finding]) -> str:
    rows = ["| | check | expected | seen |", "|---|---|---|---|"]
    rows += [f"| {'ok' if one.ok else 'FAIL'} | {one.what} | {one.expected} | {one.seen} |" for one in findings]
    return "\n".join(rows)
