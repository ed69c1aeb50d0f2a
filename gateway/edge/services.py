"""What the edge works with, handed over whole by `app.create_app`."""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass, field
from random import Random

from gateway.admission import Admission
from gateway.audit.journal import Journal
from gateway.edge.calibration import Calibration
from gateway.edge.calls import Call
from gateway.edge.fetching import Fetches
from gateway.edge.hedges import Hedges
from gateway.edge.seats import Seats
from gateway.edge.shadow import Shadow
from gateway.fleet.gpu_watch import GpuWatch
from gateway.fleet.prefixes import Prefixes
from gateway.fleet.view import View
from gateway.flow import Flow
from gateway.joining import Joining
from gateway.model import Policy, Snapshot, Tenant
from gateway.money.budgets import Budgets
from gateway.money.keyring import Keyring
from gateway.money.keys import Keys
from gateway.money.oidc_keys import IssuerKeys
from gateway.money.till import Till
from gateway.policy.live import LivePolicy
from gateway.receipts import Receipts
from gateway.reports.desk import Desk
from gateway.routing.board import Board
from gateway.routing.quotas import Quotas
from gateway.settings import Settings
from gateway.siblings import Siblings
from gateway.telemetry import Telemetry
from gateway.upstreams.client import Client
from gateway.versions.keeper import Versions

_PROMPTS = b"gateway prompt beginnings"
RETRY_SHARE = 0.2
"""Retries may be at most this share of traffic, so that a failing fleet is not hit harder than a healthy one."""
RETRY_BURST = 256.0
"""A worker that dies leaves as many requests behind as it had seats (vLLM's default: 256); each may try again."""


@dataclass(slots=True)
class RetryBudget:
    """A bucket that each request fills by RETRY_SHARE and each retry empties by one."""

    tokens: float = RETRY_BURST

    def request(self) -> None:
        self.tokens = min(RETRY_BURST, self.tokens + RETRY_SHARE)

    def take(self) -> bool:
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@dataclass(slots=True)
class Services:
    """Every shared object of one gateway process. The boards of two policies are remembered as long as the snapshot
    stands: that in force and the candidate, or one from before a reload."""

    settings: Settings
    live: LivePolicy
    view: View
    admission: Admission
    client: Client
    receipts: Receipts
    budgets: Budgets
    telemetry: Telemetry
    calibration: Calibration
    siblings: Siblings
    versions: Versions
    journal: Journal
    gpus: GpuWatch
    joining: Joining
    till: Till
    keys: Keys
    keyring: Keyring
    signers: IssuerKeys
    desk: Desk
    flow: Flow
    rng: Random = field(default_factory=Random)
    retries: RetryBudget = field(default_factory=RetryBudget)
    prefixes: Prefixes = field(default_factory=Prefixes)
    hedges: Hedges = field(default_factory=Hedges)
    worths: dict[str, float] = field(default_factory=dict)
    """As in Board; of the rules of past policies too."""
    quotas: Quotas = field(default_factory=Quotas)
    seats: Seats = field(default_factory=Seats)
    liars: set[str] = field(default_factory=set)
    """Upstreams that told usage which cannot be true: it is logged once of each."""
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the process was told to end."""
    shadow: Shadow = field(init=False)
    fetches: Fetches = field(init=False)
    prompts: bytes = field(init=False, repr=False)
    """What hashes of prompts are keyed with: the same in all replicas, which share the pepper."""
    _board: Board | None = None
    _other: Board | None = None

    def __post_init__(self) -> None:
        pepper = self.settings.key_pepper.get_secret_value()
        self.prompts = hmac.digest(pepper.encode(), _PROMPTS, "sha256")
        self.fetches = Fetches.of(self.settings)
        self.shadow = Shadow(self.telemetry, self.rng, self.board_on)

    @property
    def policy(self) -> Policy:
        return self.live.current

    def board(self) -> Board:
        """The policy in force and the snapshot of this instant."""
        return self.board_of(self.live.current)

    def board_for(self, call: Call, tenant: Tenant) -> Board:
        """The policy that decides this call, with the newest snapshot; a request takes it once and keeps the policy.

        The candidate's share is of sessions: `X-Gateway-Session` within the tenant. A call that names none,
        or an empty one, is a session of its own.
        """
        candidate = self.live.candidate
        if candidate is None or candidate.trial.mode != "share":
            return self.board_of(self.live.current)
        given = call.headers.get(b"x-gateway-session")
        session = call.id.encode() if not given else tenant.name.encode() + b"\0" + given
        if not candidate.takes(session):
            self.shadow.kept(candidate)
            return self.board_of(self.live.current)
        self.shadow.tried(candidate)
        return self.board_of(candidate.policy)

    def board_of(self, policy: Policy) -> Board:
        """The newest snapshot under `policy`, which may be an older one: a request keeps the policy it began with, but
        for the workers that joined it or left since."""
        return self.board_on(self.live.newest(policy), self.view.current)

    def board_on(self, policy: Policy, snapshot: Snapshot) -> Board:
        board, other = self._board, self._other
        if board is not None and board.policy is policy and board.snapshot is snapshot:
            return board
        if other is None or other.policy is not policy or other.snapshot is not snapshot:
            other = Board(
                policy, snapshot, paces=dict(self.calibration.paces), worths=dict(self.worths), zone=self.settings.zone
            )
        self._board, self._other = other, board if board is not None and board.snapshot is snapshot else None
        return other
