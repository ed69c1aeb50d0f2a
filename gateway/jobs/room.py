"""The objects of this room in one process, on connections of their own, and what they are opened with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gateway.errors import StartupFault, StoreFault
from gateway.jobs.durable import SYNC_SECONDS, Durable
from gateway.jobs.fences import Fences
from gateway.jobs.runner import Gone, Runner
from gateway.jobs.scripts import CALL_SECONDS, CHANNEL
from gateway.jobs.sealing import Vault
from gateway.jobs.shelf import Shelf
from gateway.jobs.work import Money, Work
from gateway.settings import Settings
from gateway.store.connection import Store
from gateway.store.subscription import Subscription
from gateway.telemetry import Telemetry


class Ears(Protocol):
    """Who hears the messages of CHANNEL: the runner, and whoever waits for jobs to move."""

    def heard(self, message: str) -> None: ...
    def gap(self) -> None:
        """Messages may have been missed."""
        ...


@dataclass(frozen=True, slots=True)
class Room:
    """`shelf` is for whoever accepts and shows jobs; `runner` makes what works on them: in its lifespan an application
    runs `runner.run` and `news(runner).run`, after `check` and before `aclose`."""

    shelf: Shelf
    _settings: Settings
    _store: Store
    _syncs: Store
    _durable: Durable
    _fences: Fences

    @classmethod
    def of(cls, settings: Settings, url: str, owner: str, secret: bytes) -> Room:
        """`owner`: a name that no other process has; `secret` is that of `startup.jobs_secret`."""
        store, syncs = Store(url, timeout=CALL_SECONDS), Store(url, timeout=SYNC_SECONDS + CALL_SECONDS)
        durable = Durable(syncs, required=settings.jobs_durability == "required")
        shelf = Shelf(
            store,
            Vault(secret),
            durable,
            longest=settings.jobs_longest_seconds,
            most=settings.jobs_per_tenant,
            room=settings.jobs_bytes,
        )
        return cls(shelf, settings, store, syncs, durable, Fences(store, owner))

    def runner(
        self, work: Work, telemetry: Telemetry, *, money: Money | None = None, gone: Gone | None = None
    ) -> Runner:
        most = self._settings.jobs_running
        return Runner(self._fences, self.shelf, self._durable, work, telemetry, money=money, gone=gone, most=most)

    def news(self, *ears: Ears) -> Subscription:
        def heard(message: str) -> None:
            for one in ears:
                one.heard(message)

        def gap() -> None:
            for one in ears:
                one.gap()

        return self._store.subscription(CHANNEL, heard, gap)

    async def check(self) -> None:
        """Connects. Raises StartupFault for a store that cannot be used, or does not keep what it must."""
        await self._store.check()
        await self._syncs.check()
        try:
            await self._durable.look()
        except StoreFault as fault:
            raise StartupFault(f"the store at {self._store.where} went away: {fault}") from fault

    async def aclose(self) -> None:
        await self._store.aclose()
        await self._syncs.aclose()
