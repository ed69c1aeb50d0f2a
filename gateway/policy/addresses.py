"""Addresses and networks of upstreams: what may be written, and what is on loopback."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from gateway.model import Network
from gateway.policy.words import HOST

LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
"""The networks of a backend that names none and has loopback addresses only."""

_APPENDED = frozenset({"v1", "metrics", "health"})
"""First parts of what is asked of a worker, below its address."""
_VERSION = r"v[0-9]+[a-z]*[0-9]*"


def address_fault(url: str) -> str | None:
    """What is wrong with `url` as an upstream's address, or None. The sentence never repeats the address."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return "must not hold spaces, control characters or letters beyond ASCII"
    parts = _split(url)
    if parts is None:
        return "is not an address that can be understood; check host and port"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return 'must begin with http:// or https:// and a host, such as "http://10.20.0.11:8000"'
    if "@" in parts.netloc:
        return "must not hold credentials; write them as `key: ${env:NAME}`"
    if "?" in url or "#" in url:
        return "must end with its path; remove what begins with `?` or `#`"
    if _ip(parts.hostname) is None and not re.fullmatch(HOST, parts.hostname):
        return "must name a host by its DNS name or IP address"
    return None


def is_loopback(url: str) -> bool:
    """Whether `url` names this machine, whatever the resolver says."""
    host = _host(url)
    address = _ip(host)
    return host == "localhost" if address is None else address.is_loopback


def is_private(url: str) -> bool:
    """Whether `url` names an IP address of a private network, or this machine; a DNS name may lie anywhere."""
    address = _ip(_host(url))
    return is_loopback(url) or (address is not None and address.is_private)


def before_api(url: str) -> str | None:
    """`url` up to the path that the gateway itself appends to a worker's address; None where it has no such path."""
    parts = _split(url)
    steps = parts.path.split("/") if parts is not None else []
    found = next((index for index, step in enumerate(steps) if step in _APPENDED), None)
    if parts is None or found is None:
        return None
    return f"{parts.scheme}://{parts.netloc}{'/'.join(steps[:found])}"


def names_version(url: str) -> bool:
    """Whether a part of the path is the version of an API, such as `v1`."""
    parts = _split(url)
    return parts is not None and any(re.fullmatch(_VERSION, step) for step in parts.path.split("/"))


def outside(url: str, networks: Iterable[Network]) -> bool:
    """Whether `url` names an IP address that lies in none of `networks`; a DNS name is judged when it connects."""
    address = _ip(_host(url))
    return address is not None and not any(address in network for network in networks)


def _host(url: str) -> str:
    parts = _split(url)
    return (parts.hostname or "") if parts is not None else ""


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        return None if parts.port == 0 else parts
    except ValueError:
        return None


def _ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
