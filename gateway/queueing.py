"""A request as lines see it (`waiting/ring.py`), worked out from its decision."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gateway.model import RANK, Decision, GenRequest, Group
from gateway.waiting.ring import QUANTUM, Ask


def asked(
    request: GenRequest,
    decision: Decision,
    groups: Sequence[Group],
    until: float = math.inf,
    starves: float = math.inf,
) -> Ask:
    """The request as lines see it. It is the first group's work that counts where a line of another does not say."""
    tenant, may = request.tenant, decision.rule.classes[request.priority]
    pool = request.model, decision.demand
    return Ask(
        rank=RANK[request.priority],
        tenant=tenant.name,
        weight=tenant.weight,
        work=work_of_group(groups[0]),
        deadline=until,
        starves=starves,
        rule=decision.rule.name,
        kind=(*pool, work_of_group(groups[0]).bit_length()),
        pool=pool,
        barred="failed_before" in decision.drops,
        shed=may.shed,
    )


def work_of_group(group: Group) -> int:
    """GPU-us; a quantum where nobody is there who would say."""
    return group.candidates[0].work if group.candidates else QUANTUM
