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
MOST_REMEMBERED = 10_000
"""Verified tokens, about 500 bytes each; past it the one that was verified first is verified anew."""
_REQUIRED = ("exp", "iss", "aud", "sub")
_REASONS: Final[tuple[tuple[type[jwt.PyJWTError], InvalidKey], ...]] = (
    (jwt.ExpiredSignatureError, KeyExpired("this token has expired")),
    (jwt.ImmatureSignatureError, InvalidKey("this token is not valid yet")),
    (jwt.InvalidAudienceError, InvalidKey("this token is meant for another audience")),
    (jwt.InvalidSignatureError, InvalidKey("this token's signature is not its issuer's")),
    (jwt.MissingRequiredClaimError, InvalidKey(f"a token must have {', '.join(_REQUIRED)}")),
)
_MALFORMED = "this token is malformed"


class Tokens:
    """Verified tokens are remembered by their SHA-256, until they expire, the tenants or an issuer's keys change.
    `now` is in seconds since the epoch."""

    def __init__(self, keys: IssuerKeys, now: Callable[[], float] = time.time) -> None:
        self._keys, self._now = keys, now
        self._tenants: Mapping[str, Tenant] | None = None
        self._known: dict[bytes, Tenant] = {}

    def tenant(self, policy: Policy, token: str) -> Tenant:
        """Whose token this is. Raises InvalidKey, or NoCapacity where its issuer's keys were never fetched."""
        if policy.tenants is not self._tenants:
            self._tenants, self._known = policy.tenants, {}
        digest = sha256(token.encode()).digest()
        known = self._known.get(digest)
        if known is None:
            known = self._read(policy, token)
            if len(self._known) >= MOST_REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[digest] = known
        elif known.expires is not None and known.expires <= self._now():
            del self._known[digest]
            raise KeyExpired("this token has expired")
        return known

    def tenants(self) -> tuple[Tenant, ...]:
        """Of the tokens that are remembered."""
        return tuple(self._known.values())

    def forget(self) -> None:
        """The keys of an issuer changed."""
        self._known = {}

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
