"""Workers by DNS: a name with an address for each (A and AAAA), or with an SRV record for each.

The answers come from the resolvers of /etc/resolv.conf, its search list included; /etc/hosts is not read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from dns.asyncresolver import Resolver
from dns.exception import DNSException
from dns.rdatatype import RdataType
from dns.resolver import NXDOMAIN, NoResolverConfiguration

from gateway.finders.report import Report
from gateway.model import Member, Source
from gateway.routing.join import plain, url_of

ASK_SECONDS = 1.0
CONFIRM_SECONDS = 0.3
"""An answer that lacks somebody is asked for again so soon, and believed the second time: servers that have many
addresses may give some of them only, and one that restarts may know none."""
LOOKUP_SECONDS = 1.0
ROUND_SECONDS = 3.0
"""All lookups of one answer. Those for which no time is left count as failed."""
MOST_AT_ONCE = 32
"""Lookups of one source: each has a socket."""
KEEP_SECONDS = 300.0
"""How long the last answer holds while lookups fail. The workers themselves are probed all the same."""
NOBODY = "no such name, or no addresses"
ANSWERS_TO_LEAVE = 2
MOST_FOUND = 1_024
"""Of one name: in order, so that every replica takes the same ones."""

MakeResolver = Callable[[], Resolver]
T = TypeVar("T")


class LookupFailed(Exception):
    """No answer, or one that is none. The message names neither servers nor addresses."""


class Answer(NamedTuple):
    """`fault` tells of a part that failed, for which its last members stand in."""

    members: frozenset[Member]
    fault: str | None = None


@dataclass(slots=True)
class Steady:
    """What the answers so far come to. `unsure` says that somebody was missing from the last one, who may be gone."""

    since: float
    """When the last answer came."""
    missed: dict[Member, int] = field(default_factory=dict)
    """Who is held -> answers in a row without them."""
    ever: bool = False
    """Whether there was ever anybody: a name that never had an address may be a slip of the pen."""

    @property
    def unsure(self) -> bool:
        return any(self.missed.values())

    def answered(self, found: frozenset[Member], now: float) -> frozenset[Member]:
        self.since, self.ever = now, self.ever or bool(found)
        gone = {one: count + 1 for one, count in self.missed.items() if one not in found}
        self.missed = {**dict.fromkeys(found, 0), **{one: n for one, n in gone.items() if n < ANSWERS_TO_LEAVE}}
        return frozenset(self.missed)

    def failed(self, now: float) -> frozenset[Member]:
        if now - self.since > KEEP_SECONDS:
            self.missed.clear()
        return frozenset(self.missed)


async def follow(backend: str, source: Source, report: Report, make: MakeResolver = Resolver) -> None:
    """Asks for `source.dns` or `source.srv` until cancelled."""
    had = report.members
    steady, lookups = Steady(time.monotonic(), dict.fromkeys(had, 0), bool(had)), Lookups(make)
    look = look_up_srv if source.srv is not None else look_up
    while True:
        try:
            found, fault = await look(lookups, backend, source)
        except LookupFailed as failure:
            report.failed(str(failure))
            report.found(steady.failed(time.monotonic()))
            lookups.renew()  # its servers may be others by now
        else:
            report.found(steady.answered(found, time.monotonic()))
            report.failed(fault if steady.ever else fault or NOBODY)
        await asyncio.sleep(CONFIRM_SECONDS if steady.unsure else ASK_SECONDS)


class Lookups:
    """The lookups of one source, a few at once, and the last answer to each."""

    def __init__(self, make: MakeResolver) -> None:
        self._make = make
        self._resolver: Resolver | None = None
        self._room = asyncio.Semaphore(MOST_AT_ONCE)
        self._ends = 0.0
        self._last: dict[str, dict[RdataType, tuple[float, list[str]]]] = {}
        """Name -> kind -> when it was answered last, and with which addresses."""

    def begin(self) -> None:
        """A round."""
        self._ends = time.monotonic() + ROUND_SECONDS

    def renew(self) -> None:
        """Reads the configuration of the system again."""
        self._resolver = None

    def forget_others(self, names: Iterable[str]) -> None:
        self._last = {name: self._last[name] for name in names if name in self._last}

    async def addresses(self, name: str) -> list[str]:
        """IPv4 before IPv6; empty where there is no such name. Where one of both lookups fails its last answer stands
        in. Raises LookupFailed where both fail, and where nothing is known of one and the other finds nothing."""
        kinds = (RdataType.A, RdataType.AAAA)
        both = await _all([self._addresses(name, kind) for kind in kinds])
        failures = [one for one in both if isinstance(one, LookupFailed)]
        found = [
            address
            for kind, one in zip(kinds, both, strict=True)
            for address in (self._kept(name, kind) if isinstance(one, LookupFailed) else one)
        ]
        if failures and (len(failures) == len(kinds) or not found):
            raise failures[0]
        return found

    def kept(self, name: str) -> list[str]:
        """The addresses that it had last, unless that is long ago."""
        return [address for kind in (RdataType.A, RdataType.AAAA) for address in self._kept(name, kind)]

    def _kept(self, name: str, kind: RdataType) -> list[str]:
        at, addresses = self._last.get(name, {}).get(kind, (float("-inf"), []))
        return addresses if time.monotonic() - at <= KEEP_SECONDS else []

    async def _addresses(self, name: str, kind: RdataType) -> list[str]:
        records = await self.ask(name, kind)
        found = [str(plain(record.address)) for record in sorted(records, key=lambda one: one.address)]
        self._last.setdefault(name, {})[kind] = (time.monotonic(), found)
        return found

    async def ask(self, name: str, kind: RdataType) -> list[Any]:
        """The records; none where there is no such name. Raises LookupFailed."""
        async with self._room:
            lifetime = min(LOOKUP_SECONDS, self._ends - time.monotonic())
            if lifetime <= 0:
                raise LookupFailed("there was no time left for some lookups")
            try:
                resolver = self._resolver = self._resolver or self._make()
                answer = await resolver.resolve(name, kind, raise_on_no_answer=False, lifetime=lifetime, search=True)
            except NXDOMAIN:
                return []
            except NoResolverConfiguration:
                raise LookupFailed("/etc/resolv.conf names no servers, or cannot be read") from None
            except (DNSException, OSError) as fault:
                raise LookupFailed(f"a lookup failed: {type(fault).__name__}") from None
            return list(answer.rrset or ())


async def look_up(lookups: Lookups, backend: str, source: Source) -> Answer:
    """Raises LookupFailed."""
    assert source.dns is not None and isinstance(source.port, int)  # noqa: S101,PT018 - as the policy's schema says
    lookups.begin()
    addresses, port = await lookups.addresses(source.dns), source.port
    return Answer(
        frozenset(
            Member(backend, "dns", url_of(address, port, source.https), (address,), port)
            for address in addresses[:MOST_FOUND]
        )
    )


async def look_up_srv(lookups: Lookups, backend: str, source: Source) -> Answer:
    """Every target is a worker, wherever its addresses are: priorities and weights are not looked at.

    Over https it is spoken to by its name, which its certificate has to show. A target whose lookup fails is where it
    was last. Raises LookupFailed where all fail.
    """
    assert source.srv is not None  # noqa: S101 - as the policy's schema says
    lookups.begin()
    records = await lookups.ask(source.srv, RdataType.SRV)
    targets = sorted({(str(one.target).rstrip("."), int(one.port)) for one in records} - {("", 0)})[:MOST_FOUND]
    hosts = sorted({host for host, _ in targets})
    told = dict(zip(hosts, await _all([lookups.addresses(host) for host in hosts]), strict=True))
    failures = [one for one in told.values() if isinstance(one, LookupFailed)]
    if failures and len(failures) == len(hosts):
        raise failures[0]
    lookups.forget_others(hosts)
    found = {host: lookups.kept(host) if isinstance(one, LookupFailed) else one for host, one in told.items()}
    members = frozenset(
        Member(backend, "srv", url_of(host if source.https else at[0], port, source.https), tuple(at), port)
        for host, port in targets
        if (at := found[host])
    )
    return Answer(members, f"{failures[0]} ({len(failures)} of {len(hosts)} targets)" if failures else None)


async def _all(questions: list[Coroutine[Any, Any, T]]) -> list[T | LookupFailed]:
    """At once; all of them end, so that no socket outlives its question."""
    told = await asyncio.gather(*questions, return_exceptions=True)
    for one in told:
        if isinstance(one, BaseException) and not isinstance(one, LookupFailed):
            raise one
    return [one for one in told if isinstance(one, LookupFailed) or not isinstance(one, BaseException)]
