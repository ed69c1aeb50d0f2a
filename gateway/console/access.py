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
need not send any, so behind one there must be a key. The one exception is `_own_page`."""
_SITE, _ORIGIN, _HOST = b"sec-fetch-site", b"origin", b"host"
_SCHEMES = (b"http://", b"https://")
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
    """Whether it comes from this host, and from nowhere else by way of it. No web page's call is: it may come from
    anywhere."""
    return is_loopback(call.peer) and not any(map(_tells_of_another, call.headers.items()))


def _same(given: str, key: str) -> bool:
    return hmac.compare_digest(sha256(given.encode()).digest(), sha256(key.encode()).digest())


def _from_here(call: Call) -> bool:
    """By a name of this host, and by nobody else's page. The name is what keeps out a stranger's name that was made to
    lead here (DNS rebinding): the page at it is, to the browser, of the same origin as we are."""
    host = call.headers.get(_HOST, b"").decode("latin-1")
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    if name not in LOCAL_NAMES:
        return False
    return from_loopback(_without_origin(call) if _own_page(call) else call)


def _own_page(call: Call) -> bool:
    """Whether the browser says that the page which asks is ours: of this very scheme, name and port. It says both; what
    says one of them alone is no browser, or one that does not tell enough."""
    origins = [scheme + call.headers.get(_HOST, b"") for scheme in _SCHEMES]
    return call.headers.get(_SITE) == b"same-origin" and call.headers.get(_ORIGIN) in origins


def _without_origin(call: Call) -> Call:
    return call._replace(headers={name: value for name, value in call.headers.items() if name != _ORIGIN})


def _tells_of_another(header: tuple[bytes, bytes]) -> bool:
    name, value = header
    if name == _SITE:
        return value not in OWN_SITES
    return name in FORWARDING or name.startswith(FORWARDING_PREFIXES)
