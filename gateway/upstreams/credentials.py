"""How an upstream's key is shown to it: the one header that holds it, in what passes as it came and in the calls of an
order. No file of a dialect sees a key."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping

import msgspec

from gateway.errors import Refused
from gateway.model import Upstream

Header = tuple[bytes, bytes]
Shown = Callable[[str, float], Header]
"""The header of a key; the second is now, in seconds since the epoch."""
KLING_SECONDS = 1800
_NO_KEY = 401
KLING_EARLY_SECONDS = 5
"""A token is good from so long ago, for clocks that differ."""


def kling_token(key: str, now: float) -> str:
    """Kling's bearer token, a JWT by HS256 (RFC 7519) for half an hour. `key`: `ACCESS:SECRET`; `now`: seconds since
    the epoch. Raises Refused, as for any key that is none, where it has another form."""
    access, colon, secret = key.partition(":")
    if not (access and colon and secret):
        raise Refused(_NO_KEY, "the key of a Kling account is ACCESS:SECRET", account=True)
    claims = {"iss": access, "exp": int(now) + KLING_SECONDS, "nbf": int(now) - KLING_EARLY_SECONDS}
    head = b".".join(_base64url(msgspec.json.encode(part)) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    signature = hmac.new(secret.encode(), head, hashlib.sha256).digest()
    return (head + b"." + _base64url(signature)).decode()


def is_service_account(key: str) -> bool:
    """Whether it is the JSON of one of Google's: it is exchanged for a token, and never sent."""
    return key.startswith("{")


def _as(name: bytes, before: bytes = b"") -> Shown:
    return lambda key, _: (name, before + key.encode())


def _kling(key: str, now: float) -> Header:
    return _bearer(kling_token(key, now), now)


_bearer = _as(b"authorization", b"Bearer ")
_SHOWN: Mapping[str, Shown] = {
    "anthropic": _as(b"x-api-key"),
    "azure": _as(b"api-key"),
    "elevenlabs": _as(b"xi-api-key"),
    "fal": _as(b"authorization", b"Key "),
    "gemini": _as(b"x-goog-api-key"),
    "kling": _kling,
}
"""Of those dialects that take no plain bearer token."""
_PASSING: Mapping[str, Shown] = {"gemini": _bearer}
"""Of those whose OpenAI-compatible endpoint takes another one than the rest of the API."""


def key_header(upstream: Upstream, now: float) -> Header | None:
    """In the calls of an order. None: it has no key, or one that is never sent. `now`: seconds since the epoch. Raises
    Refused for a key that its API cannot have."""
    return _header(upstream, _SHOWN.get(upstream.dialect, _bearer), now)


def passing_header(upstream: Upstream) -> Header | None:
    """Beside a caller's body that goes up as it is. No API that takes one has a token that ends."""
    return _header(upstream, _PASSING.get(upstream.dialect) or _SHOWN.get(upstream.dialect, _bearer), 0.0)


def _header(upstream: Upstream, shown: Shown, now: float) -> Header | None:
    return None if upstream.key is None or is_service_account(upstream.key) else shown(upstream.key, now)


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
