"""What a candidate would have decided, beside what was decided: counted, with a few examples, never acted on."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from random import Random
from typing import Any

from gateway.errors import GatewayError, InvalidKey
from gateway.model import Decision, GenRequest, Policy, Snapshot
from gateway.policy.candidate import Candidate, Trial
from gateway.routing.board import Board
from gateway.routing.decide import decide
from gateway.telemetry import Telemetry

EXAMPLES = 5
"""Kept of what was decided differently, the newest ones."""

_NAME_ALONE = ("rule",)
"""What happens is the same."""
Answer = Decision | GatewayError
Boards = Callable[[Policy, Snapshot], Board]


@dataclass(frozen=True, slots=True)
class Seen:
    """What of a decision is compared. `refused` is the code of a refusal; then there is nothing else but the rule."""

    rule: str | None
    outcome: str | None = None
    backend: str | None = None
    """Where it would go first."""
    beyond: tuple[str, ...] = ()
    """Where it would go from there, in order."""
    max_wait: float | None = None
    refused: str | None = None


def seen(answer: Answer) -> Seen:
    if isinstance(answer, GatewayError):
        return Seen(answer.rule, refused=answer.code)
    groups = (*answer.primary, *answer.overflow)
    if answer.spill_now is not None and answer.overflow:
        groups = (*answer.overflow, *answer.primary)
    first, names = groups[0], [group.backend for group in groups]
    return Seen(answer.rule.name, first.outcome, names[0], tuple(names[1:]), answer.max_wait)


@dataclass(slots=True)
class Tally:
    """Of one trial on this replica. `fields` counts by what of the decision is another."""

    trial: Trial | None = None
    same: int = 0
    different: int = 0
    renamed: int = 0
    """Decided alike by a rule of another name."""
    tried: int = 0
    """Requests that the candidate itself decided."""
    kept: int = 0
    """Of a share's other sessions: decided by the policy in force."""
    fields: Counter[str] = field(default_factory=Counter)
    examples: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=EXAMPLES))

    def row(self) -> dict[str, Any]:
        return {
            "same": self.same,
            "different": self.different,
            "renamed": self.renamed,
            "tried": self.tried,
            "kept": self.kept,
            "fields": dict(self.fields),
            "examples": list(self.examples),
        }


class Shadow:
    """One per process; its tally begins anew with each trial."""

    def __init__(self, telemetry: Telemetry, rng: Random, boards: Boards) -> None:
        self._telemetry, self._rng, self._boards = telemetry, rng, boards
        self.tally = Tally()

    def tried(self, candidate: Candidate) -> None:
        """The candidate decided a request."""
        self._of(candidate).tried += 1
        self._telemetry.count_rollout("tried")

    def kept(self, candidate: Candidate) -> None:
        """The policy in force decided a request that is not of the candidate's share."""
        self._of(candidate).kept += 1

    def later(self, candidate: Candidate, request: GenRequest, answer: Answer, snapshot: Snapshot) -> None:
        """Compares once the request is on its way: the loop comes back to it after this turn's pipeline has left."""
        asyncio.get_running_loop().call_later(0, self._compare, candidate, request, seen(answer), snapshot)

    def _compare(self, candidate: Candidate, request: GenRequest, old: Seen, snapshot: Snapshot) -> None:
        new = self._decide(candidate.policy, request, snapshot)
        tally, changed = self._of(candidate), differences(old, new)
        if not changed:
            tally.same += 1
            self._telemetry.count_rollout("same")
            return
        if changed == _NAME_ALONE:
            tally.renamed += 1
            self._telemetry.count_rollout("renamed")
            return
        tally.different += 1
        tally.fields.update(changed)
        self._telemetry.count_rollout("different")
        shown = {"old": {name: getattr(old, name) for name in changed}, "new": {n: getattr(new, n) for n in changed}}
        tally.examples.append({"request": request.id, "time": round(time.time(), 3), **shown})

    def _decide(self, policy: Policy, request: GenRequest, snapshot: Snapshot) -> Seen:
        """The same request under `policy`, whose tenant of that name it then is."""
        if policy.tenants:
            tenant = policy.tenants.get(request.tenant.name)
            if tenant is None:
                return Seen(None, refused=InvalidKey.code)
            if tenant != request.tenant:
                request = replace(request, tenant=tenant)
        try:
            return seen(decide(request, self._boards(policy, snapshot), self._rng))
        except GatewayError as error:
            return seen(error)

    def _of(self, candidate: Candidate) -> Tally:
        return self.tally_of(candidate.trial)

    def tally_of(self, trial: Trial) -> Tally:
        """What this trial showed here so far; that of an earlier one is forgotten."""
        if self.tally.trial != trial:
            self.tally = Tally(trial)
        return self.tally


def differences(old: Seen, new: Seen) -> tuple[str, ...]:
    """Names of what is not the same, in the order of the fields."""
    if old == new:
        return ()
    before, after = asdict(old), asdict(new)
    return tuple(name for name in before if before[name] != after[name])
