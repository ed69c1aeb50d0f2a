"""A shelf, its runners and a clock of the test's own."""

from __future__ import annotations

from typing import Any

from gateway.jobs.durable import Durable
from gateway.jobs.fences import Fences
from gateway.jobs.record import Job, Try
from gateway.jobs.sealing import Vault
from gateway.jobs.shelf import Shelf
from gateway.store.connection import Store
from tests.money.tills import NOON, Clock

VAULT = Vault(b"k" * 32)
HOUR = 3600.0


class Site:
    """`clock` None: the store's own."""

    def __init__(self, store: Store, clock: Clock | None = None, durable: Durable | None = None, **more: Any) -> None:
        self.store, self.durable = store, durable or Durable(store)
        self._more = {} if clock is None else {"store_ms": clock.store}
        self.shelf = Shelf(store, VAULT, self.durable, patience=0.0, **more, **self._more)

    def fences(self, owner: str) -> Fences:
        return Fences(self.store, owner, **self._more)

    def job(self, tenant: str = "acme", **more: Any) -> Job:
        words = {"request": "r", "key": "k", "model": "film", "endpoint": "videos", "policy": "p"}
        begun = {"created": NOON / 1000, "expires": NOON / 1000 + 2 * HOUR}
        return Job(id=self.shelf.new_id("video_", tenant), tenant=tenant, **{**words, **begun, **more})

    async def accept(self, tenant: str = "acme", *, body: bytes = b"{}", once: str | None = None, **more: Any) -> Job:
        return await self.shelf.accept(self.job(tenant, **more), body, once=once)


def attempt(id: str = "a1", *, managed: bool = True) -> Try:
    return Try(attempt=id, upstream="u", backend="b", managed=managed, at=NOON / 1000)
