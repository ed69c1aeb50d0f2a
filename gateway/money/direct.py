"""Direct calls: by somebody on this very host, on nobody else's behalf. What is asked where there is no key.

That the peer is on loopback does not say it: a web page that is open on this host calls from there too, whoever wrote
it, and so does a proxy.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

_SITE, _ORIGIN, _HOST = b"sec-fetch-site", b"origin", b"host"
PROXIES = frozenset({b"forwarded", b"via", b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip", b"true-client-ip"})
PROXY_PREFIXES = (b"x-forwarded-", b"x-original-", b"x-envoy-", b"cf-")
"""Headers of calls that were passed on. A proxy need not send any, so behind one there must be keys."""
OWN_SITES = frozenset({b"none", b"same-origin"})
"""What a browser says in Sec-Fetch-Site where no other page made it ask."""
LOCAL_NAMES = frozenset({b"localhost", b"127.0.0.1", b"[::1]"})
"""What a browser that was led here by a stranger's name (DNS rebinding) does not call this host; the page at that name
is, to the browser, of the same origin as we are. These are the usual ones of what `_names_this_host` takes."""
_LONGEST_HOST = 64
"""Bytes; an IPv6 address with its brackets and port has 47 at most."""
_SCHEMES = (b"http://", b"https://")
_LOOPBACK6 = IPv6Address("::1")
_REMEMBERED = 64
"""Peers, and names: to read an address costs as much as all else here."""


def indirect(headers: Mapping[bytes, bytes], peer: str | None) -> str | None:
    """Why a call is not a direct one, as half a sentence for its caller; None: it is one.

    `headers`: lower-cased names, as in `Call`. `peer`: the address that connected; None is none of this host. Of web
    pages our own may ask: its Origin is this very scheme, name and port.
    """
    said = _detour(headers, peer, page=_own_page(headers))
    if said is None:
        host = headers.get(_HOST, b"")
        if _name(host) not in LOCAL_NAMES and not (len(host) <= _LONGEST_HOST and _names_this_host(host)):
            return "the `host` of this one is not localhost, 127.0.0.1 or [::1]"
    return said


def from_loopback(headers: Mapping[bytes, bytes], peer: str | None) -> bool:
    """Whether a call comes from this host and nowhere else by way of it, whatever it calls this host. No page's does,
    not our own either."""
    return _detour(headers, peer, page=False) is None


def _detour(headers: Mapping[bytes, bytes], peer: str | None, *, page: bool) -> str | None:
    """`page`: a page may ask."""
    if not _is_loopback(peer):
        return "this one comes from elsewhere"
    for name in headers:
        if name in PROXIES or name.startswith(PROXY_PREFIXES):
            return f"this one was passed on by a proxy (`{_known(name)}`)"
    if _ORIGIN in headers and not page:
        return "this one was made by a web page (`origin`)"
    if headers.get(_SITE, b"none") not in OWN_SITES:
        return "this one was made by a web page (`sec-fetch-site`)"
    return None


def _own_page(headers: Mapping[bytes, bytes]) -> bool:
    """By its Origin, which no page chooses. Older browsers do not say the other, nor does Chromium at a WebSocket; and
    some programs send with a WebSocket the Origin that a page of ours would have (Python's websocket-client)."""
    origin = headers.get(_ORIGIN)
    if origin is None or headers.get(_SITE, b"same-origin") != b"same-origin":
        return False
    host = headers.get(_HOST, b"")
    return origin.lower() in [scheme + host.lower() for scheme in _SCHEMES]


def _name(host: bytes) -> bytes:
    """Without the port."""
    return host if host.endswith(b"]") else host.rpartition(b":")[0] or host


def _known(name: bytes) -> str:
    """As we know it: the rest of it is the caller's own text."""
    prefix = next((prefix for prefix in PROXY_PREFIXES if name.startswith(prefix)), None)
    return name.decode() if prefix is None else f"{prefix.decode()}*"


@lru_cache(_REMEMBERED)
def _names_this_host(host: bytes) -> bool:
    """In other letters, or by an address of loopback. No page of elsewhere is at one: a name that was rebound stays the
    name that its browser sends, and an address cannot be rebound.

    0.0.0.0, [::] and IPv4 in IPv6 are refused though they lead here too: to browsers they are not trustworthy (Secure
    Contexts, 3.1), so a GET that a page of elsewhere makes there has neither Origin nor Sec-Fetch-Site ("0.0.0.0 day").
    """
    name = _name(host).lower()
    if name in LOCAL_NAMES:
        return True
    bracketed = name.startswith(b"[") and name.endswith(b"]")
    address = _address((name[1:-1] if bracketed else name).decode("latin-1"))
    if isinstance(address, IPv4Address):
        return address.is_loopback and not bracketed
    return address == _LOOPBACK6 and bracketed


@lru_cache(_REMEMBERED)
def _is_loopback(peer: str | None) -> bool:
    """Who listens on `::` meets IPv4 peers by addresses that are mapped into IPv6."""
    address = None if peer is None else _address(peer)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address is not None and address.is_loopback


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
