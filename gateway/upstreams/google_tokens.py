"""Access tokens of Google's service accounts: a signed assertion is exchanged for one, which is used until it ends.

The exchange is RFC 7523 (JWT as authorization grant) as Google's token endpoint has it. What goes there is about the
account alone, never a caller's.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

import jwt
import msgspec

from gateway.errors import BadAnswer, Refused, UpstreamFault

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_HOST = "oauth2.googleapis.com"  # noqa: S105 - an address
"""Where accounts are exchanged that name no other place."""
ASSERTION_SECONDS = 3600
EARLY_SECONDS = 300.0
"""A token is replaced so long before its end: a submit may take minutes."""
_LOOPBACK = ("127.0.0.1", "localhost")
_NO_KEY = 401
Form = Callable[[str, bytes], Awaitable[tuple[int, bytes]]]
"""Posts a form; gives status and body. Raises UpstreamFault."""


class _Account(msgspec.Struct):
    client_email: str
    private_key: str
    token_uri: str = f"https://{TOKEN_HOST}/token"
    private_key_id: str | None = None


class _Granted(msgspec.Struct):
    access_token: str
    expires_in: float = float(ASSERTION_SECONDS)


class _Token(NamedTuple):
    text: str
    until: float
    """Seconds since the epoch."""

    def __repr__(self) -> str:
        return "_Token()"


class GoogleTokens:
    """Those of all accounts, by a digest of the account. One exchange at a time for each."""

    def __init__(self, form: Form, now: Callable[[], float] = time.time) -> None:
        self._form, self._now = form, now
        self._kept: dict[bytes, _Token] = {}
        self._locks: dict[bytes, asyncio.Lock] = {}

    async def vertex_token(self, key: str) -> str:
        """Raises Refused where the account is none or is not taken, and the faults of the token endpoint; nothing was
        sent to the upstream then."""
        digest = hashlib.sha256(key.encode()).digest()
        async with self._locks.setdefault(digest, asyncio.Lock()):
            kept = self._kept.get(digest)
            if kept is None or self._now() > kept.until - EARLY_SECONDS:
                kept = await self._exchange(key)
                self._kept[digest] = kept
            return kept.text

    async def _exchange(self, key: str) -> _Token:
        account, now = _account(key), self._now()
        form = urlencode({"grant_type": GRANT, "assertion": _assertion(account, now)}).encode()
        try:
            status, body = await self._form(account.token_uri, form)
            if not 200 <= status < 300:
                raise Refused(status, f"its token endpoint answered {status}", account=400 <= status < 500)
            granted = msgspec.json.decode(body, type=_Granted)
        except msgspec.DecodeError:
            raise _unsent(BadAnswer("its token endpoint answered without a token")) from None
        except UpstreamFault as fault:
            raise _unsent(fault) from None
        return _Token(granted.access_token, now + granted.expires_in)


def _account(key: str) -> _Account:
    try:
        account = msgspec.json.decode(key, type=_Account)
    except msgspec.DecodeError:
        raise Refused(_NO_KEY, "its key is no service account", account=True) from None
    address = urlsplit(account.token_uri)
    if address.scheme != "https" and address.hostname not in _LOOPBACK:
        raise Refused(_NO_KEY, "the token_uri of its service account is not https", account=True)
    return account


def _assertion(account: _Account, now: float) -> str:
    claims = {
        "iss": account.client_email,
        "scope": SCOPE,
        "aud": account.token_uri,
        "iat": int(now),
        "exp": int(now) + ASSERTION_SECONDS,
    }
    head = {} if account.private_key_id is None else {"kid": account.private_key_id}
    try:
        return jwt.encode(claims, account.private_key, "RS256", headers=head)
    except (ValueError, TypeError, jwt.PyJWTError):
        raise Refused(_NO_KEY, "the private key of its service account cannot be read", account=True) from None


def _unsent(fault: UpstreamFault) -> UpstreamFault:
    fault.processed = False
    return fault
