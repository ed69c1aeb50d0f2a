"""The workers that were found join the policy's own. Pure: who is found, and whether anything answers there, is asked
elsewhere.

A worker is whoever answers at an address and port: two sources that name the same one name one worker. The policy's own
entry wins, then what was looked up, then a registration: a worker cannot move another by its own word. Whatever is
found is what its backend's pattern says it is; nothing but its name, address and pod comes from outside; its GPU page
is the pattern's, at its address.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from types import MappingProxyType
from urllib.parse import urlsplit

from gateway.model import FINDINGS, Discovery, Found, Member, Network, Policy, Upstream

NOWHERE: tuple[Network, ...] = tuple(
    map(ip_network, ("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4", "::/128", "fe80::/10", "ff00::/8"))
)
"""Where no worker ever is: this network, link-local (metadata services at 169.254.169.254), multicast, reserved."""
METADATA = ip_address("fd00:ec2::254")
"""AWS's metadata service over IPv6, in the middle of the private range."""
LONGEST_NAME = 64
"""As `policy.words.NAME` allows."""
HOST = "{host}"
"""In a pattern's `dcgm`: the address of the worker that was found."""
NOTHING_FOUND = Found()
_DIGEST_BYTES = 3
_PORTS = {"http": 80, "https": 443}

Address = IPv4Address | IPv6Address
_Order = tuple[int, int, tuple[str, ...], int, str, str]
Place = tuple[str, int]
"""An IP address and a port."""


def plain(address: str) -> Address:
    """An IP address, without a scope; one of IPv4 that is written as IPv6 is of IPv4. Raises ValueError."""
    ip = ip_address(address.partition("%")[0])
    return (isinstance(ip, IPv6Address) and ip.ipv4_mapped) or ip


def misplaced(addresses: Iterable[str], networks: tuple[Network, ...]) -> str | None:
    """Why a worker cannot be at `addresses` (all that its name leads to), or None. Names no address."""
    given = [plain(address) for address in addresses]
    if not given:
        return "leads to no address"
    if any(ip == METADATA or any(ip in network for network in NOWHERE) for ip in given):
        return "is a metadata service, link-local, multicast or reserved: no worker is there"
    if not all(any(ip in network for network in networks) for ip in given):
        return "lies outside the backend's `networks`"
    return None


def url_of(host: str, port: int, https: bool) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if https else 'http'}://{shown}:{port}"


def gpu_page(pattern: str | None, member: Member) -> str | None:
    """Where a found worker's node tells of its GPUs: at an address of the worker, which was checked, never at its
    name."""
    if pattern is None:
        return None
    host = member.addresses[0]
    return pattern.replace(HOST, f"[{host}]" if ":" in host else host)


def place_of(url: str) -> tuple[str, int]:
    """Host and port of an upstream's address."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)


def found(
    policy: Policy,
    members: Iterable[Member],
    homes: Mapping[str, frozenset[str]],
    before: Mapping[str, Upstream],
) -> Found:
    """What `members` are under `policy`, which may have some of them in its own upstreams already.

    `homes` are the addresses to which the host names of the policy's workers lead. `before` is what was found last: who
    has not changed stays the same object, because permits are about objects.
    """
    told = sorted(members, key=_rank(policy))
    pods = {place: one.pod for one in told if one.pod is not None for place in _places(one)}
    taken = dict(_written_down(policy, homes))
    names = {name for name, one in policy.upstreams.items() if one.source is None} | set(policy.backends)
    made: dict[str, list[Upstream]] = {}
    leaving: set[str] = set()
    refused: set[Member] = set()
    for one in told:
        discovery = policy.discovery.get(one.backend)
        if discovery is None or not _looked_for(discovery, one):
            continue
        if misplaced(one.addresses, discovery.pattern.networks) is not None:
            refused.add(one)
            continue
        places = _places(one)
        name = next((taken[place] for place in places if place in taken), None)
        if name is None:
            name = _name(one, names)
            names.add(name)
            pod = next((pods[place] for place in places if place in pods), None)
            dcgm = gpu_page(discovery.pattern.dcgm, one)
            upstream = replace(discovery.pattern, name=name, url=one.url, pod=pod, source=one.source, dcgm=dcgm)
            same = before.get(name)
            made.setdefault(one.backend, []).append(same if same is not None and same == upstream else upstream)
        for place in places:
            taken.setdefault(place, name)
        if one.leaving:
            leaving.add(name)
    return Found({backend: tuple(ups) for backend, ups in made.items()}, frozenset(leaving), frozenset(refused))


def same_place(one: Member, other: Member) -> bool:
    return one.port == other.port and not set(one.addresses).isdisjoint(other.addresses)


def join(policy: Policy, found: Found) -> Policy:
    """The policy with what was found, of the same version. What joined it before and is not in `found` has left."""
    own = {
        backend: tuple(one for one in upstreams if one.source is None) for backend, upstreams in policy.backends.items()
    }
    backends = {
        backend: (*upstreams, *(found.upstreams.get(backend, ()) if backend in policy.discovery else ()))
        for backend, upstreams in own.items()
    }
    return replace(
        policy,
        backends=MappingProxyType(backends),
        upstreams=MappingProxyType({one.name: one for upstreams in backends.values() for one in upstreams}),
    )


def derived(member: Member) -> str:
    """What a worker without a name of its own is called, such as `llama-10-20-0-11-8000`."""
    place = re.sub(r"[^0-9a-z]", "-", f"{member.addresses[0]}-{member.port}")
    return f"{member.backend[: LONGEST_NAME - len(place) - 1]}-{place}"


def _name(member: Member, names: set[str]) -> str:
    if member.name is not None and member.name not in names:
        return member.name
    name = derived(member)
    if name not in names:
        return name
    digest = blake2b(f"{member.backend} {member.url}".encode(), digest_size=_DIGEST_BYTES).hexdigest()
    return f"{name[: LONGEST_NAME - len(digest) - 1]}-{digest}"


def _rank(policy: Policy) -> Callable[[Member], _Order]:
    order = {backend: number for number, backend in enumerate(policy.backends)}

    def rank(one: Member) -> _Order:
        backend = order.get(one.backend, len(order))
        return FINDINGS.index(one.source), backend, one.addresses, one.port, one.name or "", one.url

    return rank


def _looked_for(discovery: Discovery, member: Member) -> bool:
    """Whether its backend has such a source: a registration may be older than the policy."""
    return any(getattr(source, member.source) for source in discovery.sources)


def _places(member: Member) -> list[Place]:
    return [(address, member.port) for address in member.addresses]


def _written_down(policy: Policy, homes: Mapping[str, frozenset[str]]) -> Iterable[tuple[Place, str]]:
    for name, upstream in policy.upstreams.items():
        if upstream.source is not None or upstream.kind != "local":
            continue
        host, port = place_of(upstream.url)
        try:
            addresses = frozenset({str(plain(host))})
        except ValueError:
            addresses = homes.get(host, frozenset())
        for address in addresses:
            yield (address, port), name
