"""Tokens (JWT) in place of a key: verified by the published keys of an issuer that the policy names.

What a token says of where keys are (`jku`, `x5u`, `jwk`) is never looked at. Messages quote nothing of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final

import jwt

from gateway.errors import InvalidKey, KeyExpired, NoCapacity
from gateway.model import Issuer, Policy, Tenant
from gateway.money.oidc_claims import tenant_of
from gateway.money.oidc_keys import LEAST_SECONDS, IssuerKeys, SigningKey

MOST_BYTES = 8 << 10
MOST_REMEMBERED_BYTES = 16 << 20
"""Of verified tokens, under one set of tenants: 8,000 tokens of 600 bytes. Past it those that were
verified first are verified anew."""
KEPT_BYTES = 900
"""Of the shortest token, in memory: its digest and its tenant."""
KEPT_PER_BYTE = 2
"""Of a token: what its claims say of models and tags, as objects."""
_REQUIRED = ("exp", "iss", "aud", "sub")
_REASONS: Final[tuple[tuple[type[jwt.PyJWTError], InvalidKey], ...]] = (
    (jwt.ExpiredSignatureError, KeyExpired("this token has expired")),
    (jwt.ImmatureSignatureError, InvalidKey("this token is not valid yet")),
    (jwt.InvalidAudienceError, InvalidKey("this token is meant for another audience")),
    (jwt.InvalidSignatureError, InvalidKey("this token's signature is not its issuer's")),
    (jwt.MissingRequiredClaimError, InvalidKey(f"a token must have {', '.join(_REQUIRED)}")),
)
_MALFORMED = "this token is malformed"


class _Remembered:
    """Verified tokens by their SHA-256, under one set of tenants, the one that was verified first in front."""

    def __init__(self, tenants: Mapping[str, Tenant] | None = None) -> None:
        self.tenants = tenants
        self._bytes = 0
        self._held: dict[bytes, tuple[Tenant, int]] = {}

    def get(self, digest: bytes) -> Tenant | None:
        found = self._held.get(digest)
        return None if found is None else found[0]

    def add(self, digest: bytes, tenant: Tenant, length: int) -> None:
        """`length` of the token, in characters."""
        cost = KEPT_BYTES + KEPT_PER_BYTE * length
        while self._held and self._bytes + cost > MOST_REMEMBERED_BYTES:
            self.drop(next(iter(self._held)))
        self._held[digest] = tenant, cost
        self._bytes += cost

    def drop(self, digest: bytes) -> None:
        _, cost = self._held.pop(digest)
        self._bytes -= cost

    def good(self, now: float) -> tuple[Tenant, ...]:
        """Those that did not expire; the others go."""
        for digest in [digest for digest, (one, _) in self._held.items() if expired(one, now)]:
            self.drop(digest)
        return tuple(one for one, _ in self._held.values())


class Tokens:
    """Verified tokens are remembered until they expire or an issuer's keys change, for the two sets of tenants asked
    about last: that in force and that of a candidate. `now` is in seconds since the epoch."""

    def __init__(self, keys: IssuerKeys, now: Callable[[], float] = time.time) -> None:
        self._keys, self._now = keys, now
        self._known, self._before = _Remembered(), _Remembered()

    def tenant(self, policy: Policy, token: str) -> Tenant:
        """Whose token this is. Raises InvalidKey, or NoCapacity where its issuer's keys were never fetched."""
        if policy.tenants is not self._known.tenants:
            known = self._before if self._before.tenants is policy.tenants else _Remembered(policy.tenants)
            self._known, self._before = known, self._known
        digest = sha256(token.encode()).digest()
        found = self._known.get(digest)
        if found is None:
            found = self._read(policy, token)
            self._known.add(digest, found, len(token))
        elif expired(found, self._now()):
            self._known.drop(digest)
            raise KeyExpired("this token has expired")
        return found

    def tenants(self, policy: Policy) -> tuple[Tenant, ...]:
        """Of the tokens that are remembered under this policy's tenants."""
        held = (one for one in (self._known, self._before) if one.tenants is policy.tenants)
        return next((one.good(self._now()) for one in held), ())

    def forget(self) -> None:
        """The keys of an issuer changed."""
        self._known, self._before = _Remembered(), _Remembered()

    def _read(self, policy: Policy, token: str) -> Tenant:
        if len(token) > MOST_BYTES:
            raise InvalidKey(f"this token is longer than {MOST_BYTES >> 10} KiB")
        header, said = _unverified(token)
        issuer = policy.issuers.get(said["iss"]) if isinstance(said.get("iss"), str) else None
        if issuer is None:
            raise InvalidKey("nobody whose tokens are taken here issued this one")
        claims = verified(token, issuer, self._signing_key(issuer, header))
        return tenant_of(policy, issuer, claims)

    def _signing_key(self, issuer: Issuer, header: Mapping[str, Any]) -> SigningKey:
        if header.get("alg") not in issuer.algorithms or "crit" in header or "b64" in header:
            raise InvalidKey("tokens that are signed in this way are not taken here")
        keys = self._keys.of(issuer)
        if keys is None:
            self._keys.ask(issuer)
            wait = round(LEAST_SECONDS)
            raise NoCapacity("the keys of this token's issuer have not been fetched yet", retry_after=wait)
        key = keys.get(header["kid"]) if isinstance(header.get("kid"), str) else None
        if key is None:
            self._keys.ask(issuer)
            raise InvalidKey("this token is signed with a key that its issuer does not publish, or did not yet")
        if key.algorithm not in (None, header["alg"]):
            raise InvalidKey("this token is signed with a key that is for another algorithm")
        return key


def expired(tenant: Tenant, now: float) -> bool:
    return tenant.expires is not None and tenant.expires <= now


def _unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims: who is said to have signed it, to be believed by nobody."""
    try:
        whole = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
        raise InvalidKey(_MALFORMED) from None
    return whole["header"], whole["payload"]


def verified(token: str, issuer: Issuer, key: SigningKey) -> dict[str, Any]:
    """The claims of a token that this key has signed, for us, and that is good now. Raises InvalidKey."""
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key.key,
            algorithms=list(issuer.algorithms),
            audience=issuer.audience,
            issuer=issuer.url,
            leeway=issuer.leeway,
            options={"require": list(_REQUIRED)},
        )
    except jwt.PyJWTError as fault:
        known = next((said for kind, said in _REASONS if isinstance(fault, kind)), None)
        raise (InvalidKey(_MALFORMED) if known is None else type(known)(known.message)) from None
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise InvalidKey(_MALFORMED) from None
    return claims
