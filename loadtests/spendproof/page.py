"""The page of a run."""

from __future__ import annotations

from collections.abc import Mapping

from loadtests.spendproof.judge import Evidence, holds, judge
from loadtests.spendproof.run import Plan

NOTE = """Written by `make prove-budget`. Gateway processes with one store and one ledger stand before a simulated API;
one tenant has one hard budget. Clients in a closed loop ask for whole and for streamed answers, some leave in the midst
of one, and replicas are killed (SIGKILL) one after the other, at random moments, and started again. The API counts
tokens itself and keeps its own bill in a file that no gateway knows of; the judge (`loadtests/spendproof/judge.py`)
reads that file, the ledger's database and the counters in the store, and imports nothing of the gateway.

*Settled*: the API told what it used. An attempt whose gateway died, or whose client left before the API told, is booked
at what was set aside for it: more than is billed, never less."""


def page(plan: Plan, seen: Evidence, about: Mapping[str, str]) -> str:
    lines = [f"| {line.what} | {line.figure} | {'yes' if line.holds else '**no**'} |" for line in judge(seen)]
    where = [f"| {name} | {value} |" for name, value in about.items()]
    verdict = "every line holds" if holds(seen) else "not every line holds"
    asked = f"{plan.count:,} requests of {plan.clients} clients, {plan.replicas} replicas, a budget of ${plan.usd}"
    return "\n".join(
        [
            "# The proof of the budget",
            "",
            NOTE,
            "",
            f"{asked}.",
            "",
            "| what | figure | holds |",
            "|---|---|---|",
            *lines,
            "",
            f"**prove-budget: {verdict}**",
            "",
            "| run | |",
            "|---|---|",
            *where,
            "",
        ]
    )
