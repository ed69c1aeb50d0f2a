"""`/admin/v1/workers` for workers: they register themselves, say that they are still there, and leave.

A registrant joins a backend that the policy has, and says nothing but where it is: what it is, where it stands, what it
costs and who may connect to it is the policy's word alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import msgspec
from fastapi import APIRouter, Request, Response

from gateway.console import access
from gateway.console.incoming import body
from gateway.console.store_words import in_our_words
from gateway.edge.calls import Call
from gateway.edge.services import Services
from gateway.errors import InvalidKey, InvalidRequest, NoCapacity, NotFound, WorkerConflict, WorkerRefused
from gateway.fleet.roster import (
    LONGEST_TTL_SECONDS,
    SHORTEST_TTL_SECONDS,
    USUAL_TTL_SECONDS,
    Refused,
    Registered,
    Registration,
)
from gateway.model import Discovery, Member
from gateway.money import direct
from gateway.policy.addresses import address_fault
from gateway.policy.validate import nearest
from gateway.policy.words import NAME, PATTERNS
from gateway.routing.join import derived, misplaced, place_of, plain, url_of

MAX_BODY_BYTES = 16 << 10
RETRY_AFTER_SECONDS = 2
POLICY_KEYS = frozenset(
    {"zone", "kind", "price", "networks", "gpu", "gpus", "usd_per_hour", "key", "tls", "engine", "endpoints", "speed"}
)
"""What a registrant may be tempted to say of itself."""


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """The body. `url`: scheme, host and port. `ticket`: what the first answer gave, to renew from another address."""

    backend: str
    url: str
    name: str | None = None
    ttl_s: float = USUAL_TTL_SECONDS
    ticket: str | None = None


def registration_routes(services: Services) -> APIRouter:
    """Checks its callers itself: the workers' token opens these routes and no others."""
    api = APIRouter(prefix="/admin/v1/workers", tags=["admin"])

    @api.post("")
    @api.put("")
    async def register(request: Request, response: Response) -> Mapping[str, Any]:
        """Body: {backend, url, name, ttl_s, ticket}. The same call again is the heartbeat."""
        call: Call = request.state.call
        _registrant(services, call)
        wanted = read(await body(request, MAX_BODY_BYTES))
        here = direct.from_loopback(call.headers, call.peer)
        answer = await enrol(services, wanted, from_loopback=here)
        response.status_code = 200 if answer["renewed"] else 201
        return answer

    @api.delete("/{name}")
    async def leave(request: Request, name: str) -> Mapping[str, Any]:
        """Its ticket comes in `X-Gateway-Ticket`; an operator needs none."""
        call: Call = request.state.call
        operator = _registrant(services, call)
        ticket = call.text("x-gateway-ticket")
        if ticket is None and not operator:
            raise InvalidKey("send the ticket of the registration as `X-Gateway-Ticket`")
        with in_our_words():
            left = await services.joining.roster.leave(name, None if operator else ticket)
        if left is None:
            raise WorkerRefused(f"this is not the ticket of `{name}`")
        if not left:
            raise NotFound(f"no worker `{name}` is registered; {nearest(name, _registered(services))}")
        return {"name": name, "left": True}

    return api


def _registrant(services: Services, call: Call) -> bool:
    token, key = services.settings.worker_token, services.settings.admin_key
    return access.check_registrant(
        call,
        None if token is None else token.get_secret_value(),
        None if key is None else key.get_secret_value(),
    )


def _registered(services: Services) -> list[str]:
    return [one.name for one in services.joining.roster.members if one.name is not None]


def read(raw: bytes) -> Wanted:
    """Raises InvalidRequest naming the key."""
    try:
        given = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise InvalidRequest("the body is {backend, url, name, ttl_s}", param="(body)")
    for key in given:
        if key in POLICY_KEYS:
            said = f"`{key}` is for the policy alone to say: leave it out, and write it in backends.yaml"
            raise InvalidRequest(said, param=key)
    try:
        wanted = msgspec.convert(given, Wanted)
    except msgspec.ValidationError as fault:
        unknown = next((key for key in given if key not in Wanted.__struct_fields__), None)
        raise InvalidRequest(f"the body is {{backend, url, name, ttl_s, ticket}}: {fault}", param=unknown) from None
    if wanted.name is not None and not re.fullmatch(NAME, wanted.name):
        raise InvalidRequest(f"name: {PATTERNS[NAME]}", param="name")
    if not SHORTEST_TTL_SECONDS <= wanted.ttl_s <= LONGEST_TTL_SECONDS:
        said = f"ttl_s: from {SHORTEST_TTL_SECONDS:g} to {LONGEST_TTL_SECONDS:g} seconds"
        raise InvalidRequest(said, param="ttl_s")
    _check_url(wanted.url)
    return wanted


def _check_url(url: str) -> None:
    said = address_fault(url)
    if said is None and not re.fullmatch(r"https?://[^/]+/?", url):
        said = "must be scheme, host and port alone, such as http://10.20.0.11:8000"
    if said is not None:
        raise InvalidRequest(f"url: {said}", param="url")


async def enrol(services: Services, wanted: Wanted, *, from_loopback: bool) -> dict[str, Any]:
    """Raises NotFound, WorkerRefused, WorkerConflict or NoCapacity."""
    discovery = _joinable(services, wanted.backend)
    host, port = place_of(wanted.url)
    addresses = await _addresses(services, host)
    said = misplaced(addresses, discovery.pattern.networks)
    if said is None and not from_loopback and any(plain(each).is_loopback for each in addresses):
        said = "is this gateway's own host, and you are not on it"
    if said is not None:
        raise WorkerRefused(f"url: what it names {said}", param="url")
    https = wanted.url.startswith("https://")
    one = Registration(wanted.backend, url_of(host if https else addresses[0], port, https), addresses, port)
    name = wanted.name or derived(one.member(""))
    member = one.member(name)
    _refuse_taken(services, member)
    _refuse_moved(member, services.joining.looked_up(member))
    with in_our_words():
        told = await services.joining.roster.register(name, one, wanted.ttl_s, wanted.ticket)
    if isinstance(told, Refused):
        raise _conflict(name, told)
    return _answer(services, member, wanted, told)


def _joinable(services: Services, backend: str) -> Discovery:
    policy = services.policy
    if backend not in policy.backends:
        raise NotFound(f"no backend `{backend}`; {nearest(backend, list(policy.backends))}", param="backend")
    discovery = policy.discovery.get(backend)
    if discovery is None or not any(source.registration for source in discovery.sources):
        said = (
            f"backend `{backend}` takes no registrations: write `discover: [{{registration: true}}]` in backends.yaml"
        )
        raise WorkerRefused(said, param="backend")
    return discovery


async def _addresses(services: Services, host: str) -> tuple[str, ...]:
    """All that the host leads to, IPv4 first. Raises NoCapacity."""
    with suppress(ValueError):
        return (str(plain(host)),)
    try:
        found = await services.joining.hosts.addresses_of(host)
    except TimeoutError:
        raise NoCapacity("url: its host name could not be looked up in time", retry_after=RETRY_AFTER_SECONDS) from None
    return tuple(sorted(found, key=lambda each: (":" in each, each)))


def _refuse_taken(services: Services, member: Member) -> None:
    """A name that the policy gives to another worker, or that one has which was found elsewhere."""
    policy = services.policy
    holder = policy.upstreams.get(member.name or "")
    if member.name in policy.backends or (holder is not None and not _is(holder.url, member, services)):
        raise WorkerConflict(
            f"`{member.name}` is the name of another worker or backend; take another name", param="name"
        )


def _refuse_moved(member: Member, there: Member | None) -> None:
    """What a source of the policy finds belongs where that source has it. In the same backend it is one worker, under
    the name that it has already."""
    if there is None:
        return
    if there.backend != member.backend:
        raise WorkerConflict(f"a worker of backend `{there.backend}` was found at this address", param="url")
    if urlsplit(there.url).scheme != urlsplit(member.url).scheme:
        raise WorkerConflict("the worker that was found at this address is spoken to by the other scheme", param="url")


def _is(url: str, member: Member, services: Services) -> bool:
    host, port = place_of(url)
    addresses = services.joining.finders.homes.get(host, frozenset({host})) if ":" not in host else {str(plain(host))}
    return port == member.port and (not addresses.isdisjoint(member.addresses) or url == member.url)


def _conflict(name: str, told: Refused) -> WorkerConflict:
    if told.why == "name":
        said = f"`{name}` is registered already, with another address or backend: take another name, or send its ticket"
        return WorkerConflict(said, param="name")
    if told.why == "place":
        return WorkerConflict(f"`{told.holder}` is registered at this address already", param="url")
    return WorkerConflict("there are as many registrations as there may be")


def _answer(services: Services, member: Member, wanted: Wanted, told: Registered) -> dict[str, Any]:
    """`upstream` is what the gateway calls it: another name where the policy has this worker already."""
    upstreams = services.policy.upstreams.values()
    return {
        "name": member.name,
        "upstream": next((one.name for one in upstreams if _is(one.url, member, services)), None),
        "backend": wanted.backend,
        "ttl_s": wanted.ttl_s,
        "renewed": told.renewed,
        "ticket": told.ticket,
    }
