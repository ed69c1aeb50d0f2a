"""The page of a run."""

from __future__ import annotations

from collections.abc import Mapping

from loadtests.proof_page import proof_page
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
    asked = f"{plan.count:,} requests of {plan.clients} clients, {plan.replicas} replicas, a budget of ${plan.usd}"
    return proof_page("prove-budget", "The proof of the budget", NOTE, asked, judge(seen), holds(seen), about)
