"""How an upstream's key is shown to it: the one header that holds it. Who sends calls this; dialects see no key."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping

import msgspec

from gateway.errors import Refused
from gateway.model import Upstream

Header = tuple[bytes, bytes]
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


def _bearer(key: str, _: float) -> Header:
    return b"authorization", b"Bearer " + key.encode()


def _kling(key: str, now: float) -> Header:
    return _bearer(kling_token(key, now), now)


def _fal(key: str, _: float) -> Header:
    return b"authorization", b"Key " + key.encode()


def _elevenlabs(key: str, _: float) -> Header:
    return b"xi-api-key", key.encode()


def _google(key: str, _: float) -> Header:
    return b"x-goog-api-key", key.encode()


SHOWN: Mapping[str, Callable[[str, float], Header]] = {
    "kling": _kling,
    "fal": _fal,
    "elevenlabs": _elevenlabs,
    "gemini": _google,
}
"""Of those dialects that take no plain bearer token, in the calls of their orders."""


def key_header(upstream: Upstream, now: float) -> Header | None:
    """None: it has no key. `now`: seconds since the epoch. Raises Refused for a key that its API cannot have."""
    if upstream.key is None:
        return None
    return SHOWN.get(upstream.dialect, _bearer)(upstream.key, now)


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
