"""What an admitted request holds, and what it used."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model.money import Hold
from gateway.model.request import Candidate, Decision, Group


@dataclass(frozen=True, slots=True)
class Reservation:
    """The right of one request to leave: its part of a rule's share (`counted`) and money from its hourly budget, both
    booked in `minute` (minutes since the epoch)."""

    rule: str
    micro_usd: int
    minute: int
    counted: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to use part of one upstream now. `slot` names the upstream's incarnation.

    `decision` is the one under which it was taken, which may be newer than the one that its request came with: what is
    demanded, permitted, removed, timed and audited is that decision's.
    """

    id: str
    candidate: Candidate
    group: Group
    slot: str
    decision: Decision
    full: float = 0.0
    """How full its upstream was with it on board, as a share of what its class may fill there once it is warm."""
    reservation: Reservation | None = None
    hold: Hold | None = None
    """What it holds of the budgets that this attempt is charged to."""
