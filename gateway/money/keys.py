"""Who is calling: gateway keys and tokens to tenants, without a look at the store."""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable, Iterable
from hashlib import sha256
from secrets import randbelow

from gateway.errors import InvalidKey, KeyExpired
from gateway.model import Policy, Tenant
from gateway.money.direct import indirect

DEMO_KEY = "demo"
PREFIX = "gw-"
"""What keys that we make begin with, so that scanners of repositories find one that was checked in."""
KEY_BITS = 256
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LENGTH = 43
"""Digits of base 62 that KEY_BITS bits need."""
TOKEN_DOTS = 2
"""In a JWT, between its three parts. A key that we make has none."""
ANYBODY = Tenant("local")
"""The tenant of a folder without tenants: direct calls only (direct.py)."""
_NO_TENANTS = "this gateway has no tenants, so it answers direct calls from its own host alone"
_WHAT_TO_DO = "to let others in, name tenants and their keys in tenants.yaml of its policy folder (docs/keys.md)"
LookUp = Callable[[Policy, str], Tenant | None]
"""Raises InvalidKey, or returns None for what it does not know."""
Known = Callable[[Policy], Awaitable[Iterable[Tenant]]]


async def nobody(_: Policy) -> Iterable[Tenant]:
    return ()


def new_key() -> str:
    """A key of 256 random bits, to be shown once."""
    number, digits = randbelow(1 << KEY_BITS), ""
    for _ in range(_LENGTH):
        number, digit = divmod(number, len(_DIGITS))
        digits += _DIGITS[digit]
    return PREFIX + digits


def hash_key(pepper: str, key: str) -> str:
    """Hex HMAC-SHA256 of a key, as tenants.yaml holds it. A stolen folder without the pepper opens nothing."""
    return hmac.digest(pepper.encode(), key.encode(), "sha256").hex()


def credential(headers: dict[bytes, bytes]) -> str | None:
    """The key in `Authorization: Bearer` or `x-api-key`; the first wins where both are sent."""
    given = headers.get(b"authorization")
    if given is not None:
        scheme, _, key = given.partition(b" ")
        if scheme.lower() == b"bearer" and key.strip():
            return key.strip().decode("latin-1")
    other = headers.get(b"x-api-key")
    return other.strip().decode("latin-1") if other else None


class Keys:
    """Tells a caller's tenant by the policy of the moment.

    A keyed hash costs more than a look-up, so that of a key that was admitted is remembered for the two policies asked
    about last (that in force and a candidate): what stays in memory is the plain SHA-256 of each such key, beside the
    tenant it led to. Never the key itself, and nothing of callers that were refused; so there are never more of them
    than keys.
    """

    def __init__(
        self,
        pepper: str,
        issued: LookUp = lambda _policy, _hash: None,
        tokens: LookUp = lambda _policy, _token: None,
        now: Callable[[], float] = time.time,
        known: Known = nobody,
    ) -> None:
        """`issued` knows the keys made at run time, by their keyed hash; `tokens` remembers its own. `known` are the
        tenants that both lead to: whose limits and budgets are not in the policy."""
        self.known = known
        self._pepper, self._issued, self._tokens, self._now = pepper, issued, tokens, now
        self._policy: Policy | None = None
        self._admitted: dict[bytes, Tenant] = {}
        self._before: tuple[Policy | None, dict[bytes, Tenant]] = (None, {})

    def tenant(self, policy: Policy, headers: dict[bytes, bytes], peer: str | None) -> Tenant:
        """The tenant of this caller. Raises InvalidKey.

        `policy.keys` maps keyed hashes to tenants; the literal `demo` in it (only in a folder whose managed backends
        are all simulated) admits the key `demo`. No tenant at all: direct calls only.
        """
        if not policy.tenants:
            said = indirect(headers, peer)
            if said is None:
                return ANYBODY
            raise InvalidKey(f"{_NO_TENANTS}, and {said}; {_WHAT_TO_DO}")
        key = credential(headers)
        if key is None:
            raise InvalidKey("send your gateway key as `Authorization: Bearer KEY` or `x-api-key: KEY`")
        if policy is not self._policy:
            before, self._before = self._before, (self._policy, self._admitted)
            self._policy, self._admitted = before if before[0] is policy else (policy, {})
        digest = sha256(key.encode()).digest()
        tenant = self._admitted.get(digest)
        if tenant is None:
            if policy.issuers and key.count(".") == TOKEN_DOTS:
                tenant = self._tokens(policy, key)
                if tenant is None:
                    raise InvalidKey("no tokens are taken here")
                return tenant
            tenant = self._admitted[digest] = self._look_up(policy, key)
        if tenant.expires is not None and tenant.expires <= self._now():
            raise KeyExpired("this key has expired")
        return tenant

    def forget(self) -> None:
        """A key changed: what was admitted is looked up anew."""
        self._policy, self._admitted, self._before = None, {}, (None, {})

    def _look_up(self, policy: Policy, key: str) -> Tenant:
        if key == DEMO_KEY:
            tenant = policy.keys.get(DEMO_KEY) if policy.simulated else None
        else:
            hashed = hash_key(self._pepper, key)
            tenant = policy.keys.get(hashed) or self._issued(policy, hashed)
        if tenant is None:
            raise InvalidKey("this key is not known here")
        return tenant
