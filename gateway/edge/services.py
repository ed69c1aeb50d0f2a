"""What the edge works with, handed over whole by `app.create_app`."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from gateway.admission import Admission
from gateway.edge.calibration import Calibration
from gateway.fleet.view import View
from gateway.model import Policy
from gateway.money.budgets import Budgets
from gateway.money.keys import Keys
from gateway.policy.live import LivePolicy
from gateway.receipts import Receipts
from gateway.routing.board import Board
from gateway.settings import Settings
from gateway.siblings import Siblings
from gateway.telemetry import Telemetry
from gateway.upstreams.client import Client

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
    """Every shared object of one gateway process. The board is remembered as long as policy and snapshot stand."""

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
    rng: Random = field(default_factory=Random)
    retries: RetryBudget = field(default_factory=RetryBudget)
    worths: dict[str, float] = field(default_factory=dict)
    """As in Board; of the rules of past policies too."""
    keys: Keys = field(init=False)
    _board: Board | None = None

    def __post_init__(self) -> None:
        self.keys = Keys(self.settings.key_pepper.get_secret_value())

    @property
    def policy(self) -> Policy:
        return self.live.current

    def board(self) -> Board:
        """The policy and the snapshot of this instant; a request takes it once and keeps it."""
        return self.board_of(self.live.current)

    def board_of(self, policy: Policy) -> Board:
        """The newest snapshot under `policy`, which may be an older one: a request keeps the policy it began with."""
        snapshot = self.view.current
        board = self._board
        if board is None or board.policy is not policy or board.snapshot is not snapshot:
            board = self._board = Board(policy, snapshot, paces=self.calibration.paces, worths=self.worths)
        return board
