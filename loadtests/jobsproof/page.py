"""The page of a run."""

from __future__ import annotations

from collections.abc import Mapping

from loadtests.jobsproof.judge import Evidence, holds, judge
from loadtests.jobsproof.run import Plan
from loadtests.proof_page import proof_page

NOTE = """Written by `make prove-jobs`. Gateway processes with one store, one ledger and one folder of artefacts stand
before two workers of ours and two simulated APIs: one that finds an order by a name of ours, one that cannot. Callers
bring films with an `Idempotency-Key` each, and ask another process where one does not answer. A process is killed
(SIGKILL) every two seconds, some are frozen until they are believed dead and come back, the store is killed once
and begins again from its disk. The APIs lose answers, refuse, fail, are slow, and never begin. They count submits
and bills by what they were asked for; the judge (`loadtests/jobsproof/judge.py`) reads those, the ledger's
database, the store's keys and the folder, and what each process says of each job, and imports nothing of the
gateway."""


def page(plan: Plan, run: Evidence, about: Mapping[str, str]) -> str:
    asked = f"{plan.count:,} jobs of {plan.clients} callers, {plan.processes} processes, seed {plan.seed}"
    return proof_page("prove-jobs", "The proof of the jobs", NOTE, asked, judge(run), holds(run), about)
