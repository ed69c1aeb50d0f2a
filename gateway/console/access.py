"""Who may use the admin API."""

from __future__ import annotations

import hmac
from hashlib import sha256

from gateway.edge.calls import Call
from gateway.errors import AdminRefused, InvalidKey
from gateway.money.keys import credential, is_loopback

FORWARDING = frozenset(
    {b"forwarded", b"via", b"origin", b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip", b"true-client-ip"}
)
FORWARDING_PREFIXES = (b"x-forwarded-", b"x-original-", b"x-envoy-", b"cf-")
"""A call with one of these was passed on by a proxy, or sent by a web page: its peer says nothing of who asks. A proxy
need not send any, so behind one there must be a key."""
_SITE = b"sec-fetch-site"
OWN_SITES = frozenset({b"none", b"same-origin"})
"""What a browser says where no other page made it ask."""
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""What a browser that was led here by a stranger's name does not call this host."""


def check(call: Call, key: str | None) -> None:
    """Lets an operator pass: who holds the admin key, or without one who calls from this very host.

    Raises InvalidKey or AdminRefused.
    """
    if key is None:
        if not _from_here(call):
            raise AdminRefused("no admin key is set, so only direct loopback calls are answered: set GATEWAY_ADMIN_KEY")
        return
    given = credential(call.headers)
    if given is None:
        raise InvalidKey("send the admin key as `Authorization: Bearer KEY` or `x-api-key: KEY`")
    if not _same(given, key):
        raise InvalidKey("this is not the admin key")


def check_registrant(call: Call, token: str | None, key: str | None) -> bool:
    """Lets a worker pass that registers itself: by the workers' token or the admin key, from wherever it calls.

    True for the admin key. Raises InvalidKey.
    """
    if token is None and key is None:
        raise InvalidKey(
            "nobody can register here: set GATEWAY_WORKER_TOKEN on the gateway, and give it to the workers"
        )
    given = credential(call.headers)
    if given is None:
        raise InvalidKey("send the workers' token as `Authorization: Bearer TOKEN`")
    operator = key is not None and _same(given, key)
    if not operator and not (token is not None and _same(given, token)):
        raise InvalidKey("this is not the workers' token")
    return operator


def from_loopback(call: Call) -> bool:
    """Whether it comes from this host, and from nowhere else by way of it."""
    return is_loopback(call.peer) and not any(map(_tells_of_another, call.headers.items()))


def _same(given: str, key: str) -> bool:
    return hmac.compare_digest(sha256(given.encode()).digest(), sha256(key.encode()).digest())


def _from_here(call: Call) -> bool:
    host = call.headers.get(b"host", b"").decode("latin-1")
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return name in LOCAL_NAMES and from_loopback(call)


def _tells_of_another(header: tuple[bytes, bytes]) -> bool:
    name, value = header
    if name == _SITE:
        return value not in OWN_SITES
    return name in FORWARDING or name.startswith(FORWARDING_PREFIXES)
