"""Who is calling: gateway keys to tenants, by keyed hash, without a look at the store."""

from __future__ import annotations

import hmac
from ipaddress import ip_address

from gateway.errors import InvalidKey
from gateway.model import Policy, Tenant

DEMO_KEY = "demo"
ANYBODY = Tenant("local")
"""The tenant of a folder without keys: loopback peers only."""


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


def authenticate(policy: Policy, pepper: str, headers: dict[bytes, bytes], peer: str | None) -> Tenant:
    """The tenant of this caller. Raises InvalidKey.

    `policy.keys` maps keyed hashes to tenants; the literal `demo` in it (only in a folder whose managed backends are
    all simulated) admits the key `demo`. No key configured at all: loopback peers only.
    """
    key = credential(headers)
    if not policy.keys:
        if _is_loopback(peer):
            return ANYBODY
        raise InvalidKey("no key is configured on this gateway, so it answers loopback callers only")
    if key is None:
        raise InvalidKey("send your gateway key as `Authorization: Bearer KEY` or `x-api-key: KEY`")
    if key == DEMO_KEY and policy.simulated and DEMO_KEY in policy.keys:
        return policy.tenants[policy.keys[DEMO_KEY]]
    tenant = policy.keys.get(hash_key(pepper, key)) if key != DEMO_KEY else None
    if tenant is None:
        raise InvalidKey("this key is not known here")
    return policy.tenants[tenant]


def _is_loopback(peer: str | None) -> bool:
    try:
        return peer is not None and ip_address(peer).is_loopback
    except ValueError:
        return False
