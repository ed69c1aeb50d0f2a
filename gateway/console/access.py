"""Who may use the admin API."""

from __future__ import annotations

import hmac
from hashlib import sha256

from gateway.edge.calls import Call
from gateway.errors import AdminRefused, InvalidKey
from gateway.money.direct import indirect
from gateway.money.keys import credential


def check(call: Call, key: str | None) -> None:
    """Lets an operator pass: who holds the admin key, or without one who calls from this very host.

    Raises InvalidKey or AdminRefused.
    """
    if key is None:
        said = indirect(call.headers, call.peer)
        if said is not None:
            raise AdminRefused(f"without GATEWAY_ADMIN_KEY only direct calls from this host are answered, and {said}")
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


def _same(given: str, key: str) -> bool:
    return hmac.compare_digest(sha256(given.encode()).digest(), sha256(key.encode()).digest())
