"""Workers by DNS: a name with an address for each (A and AAAA), or with an SRV record for each.

The answers come from the resolvers of /etc/resolv.conf, its search list included; /etc/hosts is not read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from dns.asyncresolver import Resolver
from dns.exception import DNSException
from dns.rdatatype import RdataType
from dns.resolver import NXDOMAIN

from gateway.finders.report import Report
from gateway.model import Member, Source
from gateway.routing.join import plain, url_of

ASK_SECONDS = 1.0
CONFIRM_SECONDS = 0.3
"""An answer that lacks somebody is asked for again so soon, and believed the second time: servers that have many
addresses may give some of them only, and one that restarts may know none."""
LOOKUP_SECONDS = 1.0
KEEP_SECONDS = 300.0
"""How long the last answer holds while lookups fail. The workers themselves are probed all the same."""
ANSWERS_TO_LEAVE = 2
MOST_FOUND = 1_024
"""Of one name: in order, so that every replica takes the same ones."""

MakeResolver = Callable[[], Resolver]


class LookupFailed(Exception):
    """No answer, or one that is none. The message names neither servers nor addresses."""


@dataclass(slots=True)
class Steady:
    """What the answers so far come to. `unsure` says that somebody was missing from the last one, who may be gone."""

    since: float
    """When the last answer came."""
    missed: dict[Member, int] = field(default_factory=dict)
    """Who is held -> answers in a row without them."""

    @property
    def unsure(self) -> bool:
        return any(self.missed.values())

    def answered(self, found: frozenset[Member], now: float) -> frozenset[Member]:
        self.since = now
        gone = {one: count + 1 for one, count in self.missed.items() if one not in found}
        self.missed = {**dict.fromkeys(found, 0), **{one: n for one, n in gone.items() if n < ANSWERS_TO_LEAVE}}
        return frozenset(self.missed)

    def failed(self, now: float) -> frozenset[Member]:
        if now - self.since > KEEP_SECONDS:
            self.missed.clear()
        return frozenset(self.missed)


async def follow(backend: str, source: Source, report: Report, make: MakeResolver = Resolver) -> None:
    """Asks for `source.dns` or `source.srv` until cancelled."""
    steady, resolver = Steady(time.monotonic(), dict.fromkeys(report.members, 0)), make()
    look = look_up_srv if source.srv is not None else look_up
    while True:
        try:
            found = await look(resolver, backend, source)
        except LookupFailed as fault:
            report.failed(str(fault))
            report.found(steady.failed(time.monotonic()))
            resolver = make()  # its servers may be others by now
        else:
            report.failed(None)
            report.found(steady.answered(found, time.monotonic()))
        await asyncio.sleep(CONFIRM_SECONDS if steady.unsure else ASK_SECONDS)


async def look_up(resolver: Resolver, backend: str, source: Source) -> frozenset[Member]:
    """Raises LookupFailed."""
    assert source.dns is not None and isinstance(source.port, int)  # noqa: S101,PT018 - as the policy's schema says
    addresses, port = await addresses_of(resolver, source.dns), source.port
    return frozenset(
        Member(backend, "dns", url_of(address, port, source.https), (address,), port)
        for address in addresses[:MOST_FOUND]
    )


async def look_up_srv(resolver: Resolver, backend: str, source: Source) -> frozenset[Member]:
    """Every target is a worker, wherever its addresses are: priorities and weights are not looked at.

    Over https it is spoken to by its name, which its certificate has to show. Raises LookupFailed.
    """
    assert source.srv is not None  # noqa: S101 - as the policy's schema says
    records = await _ask(resolver, source.srv, RdataType.SRV)
    targets = sorted({(str(one.target).rstrip("."), int(one.port)) for one in records} - {("", 0)})[:MOST_FOUND]
    each = await _all([addresses_of(resolver, host) for host, _ in targets])
    return frozenset(
        Member(backend, "srv", url_of(host if source.https else found[0], port, source.https), tuple(found), port)
        for (host, port), found in zip(targets, each, strict=True)
        if found
    )


async def addresses_of(resolver: Resolver, name: str) -> list[str]:
    """IPv4 before IPv6; empty where there is no such name. Raises LookupFailed."""
    both = await _all([_ask(resolver, name, kind) for kind in (RdataType.A, RdataType.AAAA)])
    return [str(plain(record.address)) for records in both for record in sorted(records, key=lambda one: one.address)]


async def _all(questions: list[Coroutine[Any, Any, list[Any]]]) -> list[list[Any]]:
    """At once; where one fails the others end first, so that no socket outlives its question."""
    told = await asyncio.gather(*questions, return_exceptions=True)
    for one in told:
        if isinstance(one, BaseException):
            raise one
    return [one for one in told if not isinstance(one, BaseException)]


async def _ask(resolver: Resolver, name: str, kind: RdataType) -> list[Any]:
    try:
        answer = await resolver.resolve(name, kind, raise_on_no_answer=False, lifetime=LOOKUP_SECONDS, search=True)
    except NXDOMAIN:
        return []
    except (DNSException, OSError) as fault:
        raise LookupFailed(f"a lookup failed: {type(fault).__name__}") from None
    return list(answer.rrset or ())
