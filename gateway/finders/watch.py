"""Runs a finder for each source of the policy in force, and knows what all of them found."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Set
from contextlib import suppress
from functools import partial
from importlib.util import find_spec

from gateway.errors import extra
from gateway.finders import names
from gateway.finders.hosts import Hosts
from gateway.finders.report import Report
from gateway.model import Member, Policy, Source
from gateway.routing.join import place_of, plain

HOMES_SECONDS = 5.0
"""Between two looks at where the host names of the policy's own workers lead."""
RESTART_SECONDS = 1.0
NO_EXTRA = (
    f"needs the Kubernetes client, which is not installed: {extra('kubernetes')}, "
    "or leave `service` and `pool` out of `discover`"
)
Key = tuple[str, Source]
"""Backend and source."""
Follow = Callable[[str, Source, Report], Awaitable[None]]
_log = logging.getLogger("gateway")


def missing_extra(policy: Policy) -> str | None:
    """Why the sources of this policy cannot be followed in this installation, or None."""
    for backend, discovery in policy.discovery.items():
        if any(one.service or one.pool for one in discovery.sources) and find_spec("lightkube") is None:
            return f"backends.yaml: `discover` of backend {backend} {NO_EXTRA}"
    return None


class Finders:
    """`changed` is called whenever `members`, `homes` or `faults` are others than before."""

    def __init__(
        self, policy: Callable[[], Policy], changed: Callable[[], None], resolver: names.MakeResolver | None = None
    ) -> None:
        self._policy, self._changed = policy, changed
        self._dns: Follow = names.follow if resolver is None else partial(names.follow, make=resolver)
        self._reports: dict[Key, Report] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._hosts = Hosts()
        self._turn, self._home_turn = asyncio.Event(), asyncio.Event()
        self.homes: Mapping[str, frozenset[str]] = {}
        """Host names of the policy's own workers -> their addresses, of backends that find others too."""

    @property
    def members(self) -> tuple[Member, ...]:
        return tuple(one for report in self._reports.values() for one in report.members)

    @property
    def faults(self) -> dict[str, str]:
        """`backend: source` -> why nothing is known there now."""
        told = ((key, report.fault) for key, report in self._reports.items())
        return {f"{backend}: {where(source)}": fault for (backend, source), fault in told if fault is not None}

    def keep(self, policy: Policy) -> None:
        """Has `run` follow the sources of `policy`, now in force, and no others."""
        if sources_of(policy) != self._tasks.keys():
            self._turn.set()
        if not self.homes.keys() >= set(hosts(policy)):
            self._home_turn.set()

    async def run(self) -> None:
        """Until cancelled. It begins with the homes: until they are known, a worker that is written down and found
        would be two."""
        try:
            async with asyncio.TaskGroup() as group:
                await self._look_home()
                group.create_task(self._mind_homes())
                while True:
                    self._turn.clear()
                    self._follow(group)
                    await self._turn.wait()
        finally:
            self._tasks.clear()

    def _follow(self, group: asyncio.TaskGroup) -> None:
        wanted = sources_of(self._policy())
        for key in self._tasks.keys() - wanted:
            self._tasks.pop(key).cancel()
        for key in self._reports.keys() - wanted:
            del self._reports[key]
        for key in sorted(wanted - self._tasks.keys(), key=str):
            report = self._reports.setdefault(key, Report(self._changed))  # one that began anew keeps whom it had
            self._tasks[key] = group.create_task(self._one(key, report))
        self._changed()

    async def _one(self, key: Key, report: Report) -> None:
        """A finder that ends by a defect begins anew: the others, and what it found, are not touched."""
        backend, source = key
        while True:
            try:
                await self._follower(source)(backend, source, report)
            except Exception:
                _log.exception("a finder failed", extra={"fields": {"backend": backend, "source": where(source)}})
                report.failed("it failed; the log of the gateway has the place")
            await asyncio.sleep(RESTART_SECONDS)

    def _follower(self, source: Source) -> Follow:
        if source.service is None and source.pool is None:
            return self._dns
        kubernetes = importlib.import_module("gateway.finders.kubernetes")
        follow: Follow = kubernetes.follow
        return follow

    async def _mind_homes(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(HOMES_SECONDS):
                    await self._home_turn.wait()
            self._home_turn.clear()
            await self._look_home()

    async def _look_home(self) -> None:
        """All hosts at once. What is known of one does not wait for another, and stays where a lookup fails."""
        wanted = hosts(self._policy())
        self._home(self.homes.keys() & set(wanted), {})
        await asyncio.gather(*map(self._look_home_of, wanted))

    async def _look_home_of(self, host: str) -> None:
        found = frozenset[str]()
        with suppress(TimeoutError):
            found = await self._hosts.addresses_of(host)
        self._home(self.homes.keys(), {host: found or self.homes.get(host, frozenset())})

    def _home(self, kept: Set[str], new: Mapping[str, frozenset[str]]) -> None:
        homes = {**{host: self.homes[host] for host in kept}, **new}
        if homes != self.homes:
            self.homes = homes
            self._changed()


def sources_of(policy: Policy) -> set[Key]:
    """Those that are looked up: who registers itself comes by the store."""
    return {
        (backend, source)
        for backend, discovery in policy.discovery.items()
        for source in discovery.sources
        if not source.registration
    }


def where(source: Source) -> str:
    """As backends.yaml writes it."""
    kinds = ("dns", "srv", "service", "pool")
    return next((f"{kind} {name}" for kind in kinds if (name := getattr(source, kind))), "registration")


def hosts(policy: Policy) -> list[str]:
    """Host names, not addresses, of the policy's own workers in backends that find others too."""
    if not policy.discovery:
        return []
    named = {place_of(one.url)[0] for one in policy.upstreams.values() if one.kind == "local" and one.source is None}
    return sorted(host for host in named if not _is_address(host))


def _is_address(host: str) -> bool:
    try:
        plain(host)
    except ValueError:
        return False
    return True
