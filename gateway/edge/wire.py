"""The client's end of an answer, as whoever relays it sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.model import Demand, Policy, Upstream, Usage
from gateway.upstreams.orders import Log
from gateway.upstreams.results import Results


class Wire(Protocol):
    """As `edge/cycle.py` has it."""

    on_room: Callable[[], None] | None

    @property
    def paused(self) -> bool: ...

    @property
    def job(self) -> JobEnd | None:
        """Itself as the end of a job; None: a client waits for it."""
        ...

    def answer(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None: ...
    def begin(self, status: int, headers: Sequence[tuple[bytes, bytes]], piece: bytes) -> None: ...
    def write(self, piece: bytes) -> None: ...
    def finish(self) -> None: ...
    def cut(self) -> None: ...


class JobEnd(Wire, Protocol):
    """The client's end of a request that outlives its socket and this process: its record. So does what its attempts
    hold of budgets. Beside these, whatever is answered to a client that waits may be answered to it (`answer`):
    refusals, and results of an upstream that takes no orders."""

    @property
    def name(self) -> str:
        """The job's id: what its attempts hold is kept under it."""
        ...

    def check(self, demand: Demand, policy: Policy) -> None:
        """Raises ResidencyRefused where results under `demand` must not lie where they would be kept."""
        ...

    def attempt(self, upstream: Upstream) -> str | None:
        """That which has placed an order there before, by its id in the ledger."""
        ...

    def log(self, attempt: str, upstream: Upstream) -> Log:
        """Where this attempt, by its id in the ledger, is written down. Its `intent` is kept before anything leaves."""
        ...

    def may_send(self) -> None:
        """Called in the turn in which the first byte of a call is about to leave. Raises what ends the attempt where
        its job may be another process's by then."""
        ...

    def ticket(self, upstream: Upstream) -> str | None:
        """Of an order that was placed there before; None: it is to be placed."""
        ...

    async def take(self, usage: Usage, results: Results) -> None:
        """Keeps what was made: `results.each` gives it piece by piece. Raises UpstreamFault where it cannot be had."""
        ...
