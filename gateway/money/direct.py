"""Direct calls: by somebody on this very host, on nobody else's behalf. What is asked where there is no key.

That the peer is on loopback does not say it: a web page that is open on this host calls from there too, whoever wrote
it, and so does a proxy.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address

_SITE, _ORIGIN, _HOST = b"sec-fetch-site", b"origin", b"host"
PROXIES = frozenset({b"forwarded", b"via", b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip", b"true-client-ip"})
PROXY_PREFIXES = (b"x-forwarded-", b"x-original-", b"x-envoy-", b"cf-")
"""Headers of calls that were passed on. A proxy need not send any, so behind one there must be keys."""
OWN_SITES = frozenset({b"none", b"same-origin"})
"""What a browser says in Sec-Fetch-Site where no other page made it ask."""
LOCAL_NAMES = frozenset({b"localhost", b"127.0.0.1", b"[::1]"})
"""What a browser that was led here by a stranger's name (DNS rebinding) does not call this host; the page at that name
is, to the browser, of the same origin as we are."""
_SCHEMES = (b"http://", b"https://")
_PEERS = 64
"""Remembered: to read an address costs as much as all else here."""


def indirect(headers: Mapping[bytes, bytes], peer: str | None) -> str | None:
    """Why a call is not a direct one, as half a sentence for its caller; None: it is one.

    `headers`: lower-cased names, as in `Call`. `peer`: the address that connected; None is none of this host. Of web
    pages our own may ask: its Origin is this very scheme, name and port.
    """
    said = _detour(headers, peer, page=_own_page(headers))
    if said is None and _name(headers.get(_HOST, b"")) not in LOCAL_NAMES:
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
    return origin in [scheme + host for scheme in _SCHEMES]


def _name(host: bytes) -> bytes:
    """Without the port."""
    return host if host.endswith(b"]") else host.rpartition(b":")[0] or host


def _known(name: bytes) -> str:
    """As we know it: the rest of it is the caller's own text."""
    prefix = next((prefix for prefix in PROXY_PREFIXES if name.startswith(prefix)), None)
    return name.decode() if prefix is None else f"{prefix.decode()}*"


@lru_cache(_PEERS)
def _is_loopback(peer: str | None) -> bool:
    try:
        return peer is not None and ip_address(peer).is_loopback
    except ValueError:
        return False
