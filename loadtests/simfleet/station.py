"""What every simulated server shares: journal, faults, death and revival."""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod

from .draws import Draws
from .exchange import Exchange
from .faults import Change, Faults
from .journal import Entry, Journal
from .refusal import Refusal

PROBES = {"/metrics", "/health", "/version", "/ping"}
"""Counted, but kept out of the journal: two a second would push the requests out."""
RETRY_AFTER = b"retry-after"


class Station(ABC):
    """One simulated server. `port` is known once its socket is bound."""

    def __init__(self, name: str, model: str, seed: int) -> None:
        self.name = name
        self.model = model
        self.port = 0
        self.alive = True
        self.faults = Faults()
        self.journal = Journal()
        self.draws = Draws(seed, name)
        self.probes: dict[str, int] = {}
        self._asked = 0
        self.generation = asyncio.Event()
        """Set while requests are served: neither hanging nor warming up."""
        self.generation.set()
        self._warming: asyncio.TimerHandle | None = None

    # -- control -----------------------------------------------------------------------------------------------

    def apply(self, change: Change) -> None:
        """Take over faults; death and revival of the port are the fleet's business."""
        self.faults = self.faults.after(change)
        if change.clear:
            self._warm()
        if isinstance(change.cold_start, float):
            self._warm()
            self._warming = asyncio.get_running_loop().call_later(change.cold_start, self._warm)
        self._settle()

    def die(self) -> None:
        """Forget everything in flight, as a killed process does."""
        self.alive = False
        self.journal.lose()

    def revive(self) -> None:
        self.alive = True

    @property
    def warming(self) -> bool:
        return self._warming is not None or self.faults.loading

    def _warm(self) -> None:
        if self._warming is not None:
            self._warming.cancel()
        self._warming = None
        self._settle()

    @property
    def held(self) -> bool:
        """Whether requests wait."""
        return self.faults.hang or self.warming

    def _settle(self) -> None:
        if self.held:
            self.generation.clear()
        else:
            self.generation.set()

    @abstractmethod
    def state(self) -> dict[str, object]:
        """The live truth, for GET /sim/state."""

    # -- requests ----------------------------------------------------------------------------------------------

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request. Raises ClientGone."""
        if self.faults.reset_rate and self.draws.uniform(self._asked, "reset") < self.faults.reset_rate:
            self._asked += 1
            exchange.connection.reset()
            await exchange.gone
            return
        self._asked += 1
        if self._is_probe(exchange):
            self.probes[exchange.path] = self.probes.get(exchange.path, 0) + 1
            await self._probe(exchange)
            return
        entry = self.journal.open(exchange)
        try:
            await self._serve(exchange, entry)
        except Refusal as refusal:
            self.journal.close(entry, "error", refusal.status)
            await exchange.reply(refusal.status, self._told(refusal, exchange.path), refusal.headers)
        finally:
            self.journal.close(entry, "aborted")

    def _is_probe(self, exchange: Exchange) -> bool:
        return exchange.path in PROBES

    @abstractmethod
    async def _probe(self, exchange: Exchange) -> None:
        """Answer a request for which `_is_probe` holds."""

    @abstractmethod
    def _told(self, refusal: Refusal, path: str) -> object:
        """The body of an error answer."""

    @abstractmethod
    async def _serve(self, exchange: Exchange, entry: Entry) -> None:
        """Answer a request that is no probe. Raises Refusal and ClientGone."""

    def _inject(self, entry: Entry) -> None:
        faults = self.faults
        if self.draws.uniform(entry.seq, "error") >= faults.error_rate:
            return
        refusal = self._refuse(faults.error_status, "Injected fault")
        if faults.retry_after_s is not None:
            refusal.headers = (*refusal.headers, (RETRY_AFTER, str(math.ceil(faults.retry_after_s)).encode()))
        raise refusal

    @abstractmethod
    def _refuse(self, status: int, message: str, param: str | None = None) -> Refusal:
        """The refusal in this API's shape."""
