"""What a verified token says of its bearer: whose it is, and what it takes away from what that tenant may do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final

from gateway.errors import InvalidKey, ResidencyUnknown
from gateway.model import RANK, Demand, Issuer, Policy, Priority, Tenant
from gateway.routing.residency import parse_demand, strictest

MOST_WORDS = 64
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@|-]{0,63}")
"""A subject that is shown as it is; another one by a digest."""
_TAG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST_DIGITS = 16
Claims = Mapping[str, Any]


def tenant_of(policy: Policy, issuer: Issuer, claims: Claims) -> Tenant:
    """The tenant as this subject is, with no more than the tenant may do. Raises InvalidKey."""
    tenant = _whose(policy, issuer, claims)
    id = f"{issuer.name}:{_subject(claims['sub'])}"
    models, tags = (_words(claims, name) for name in (issuer.models_claim, issuer.tags_claim))
    if tags is not None and not all(map(_TAG.fullmatch, tags)):
        raise InvalidKey("this token has a tag that is no name")
    return replace(
        tenant,
        key=id,
        also_models=models,
        priority=_priority(tenant.priority, claims, issuer.priority_claim),
        residency=strictest(tenant.residency, _residency(policy, claims, issuer.residency_claim)),
        tags=tenant.tags | frozenset(tags or ()),
        expires=float(claims["exp"]) + issuer.leeway,
        quotas=(*tenant.quotas, *(replace(one, name=f"key {tenant.name}/{id}: {one.name}") for one in issuer.limits)),
    )


def _whose(policy: Policy, issuer: Issuer, claims: Claims) -> Tenant:
    """A list of groups may hold one tenant among others that mean nothing here, but not two."""
    given = claims.get(issuer.tenant_claim)
    values = given if isinstance(given, list) else [given]
    texts = [value for value in values if isinstance(value, str)]
    names = {issuer.tenants[text] for text in texts if text in issuer.tenants} if issuer.tenants else set(texts)
    found = [policy.tenants[name] for name in names & policy.tenants.keys()]
    if len(found) != 1:
        said = "names no tenant of this gateway" if not found else "names more than one tenant"
        raise InvalidKey(f"this token {said} in `{issuer.tenant_claim}`")
    return found[0]


def _subject(sub: str) -> str:
    if _PLAIN.fullmatch(sub):
        return sub
    return f"~{sha256(sub.encode(errors='surrogatepass')).hexdigest()[:_DIGEST_DIGITS]}"


def _words(claims: Claims, name: str | None) -> tuple[str, ...] | None:
    """A list of texts, or the words of one; None where the token, or the policy, says nothing."""
    if name is None or name not in claims:
        return None
    given = claims[name]
    words = given.split() if isinstance(given, str) else given
    sound = isinstance(words, list) and len(words) <= MOST_WORDS and all(isinstance(word, str) for word in words)
    if not sound:
        raise InvalidKey(f"`{name}` of this token must be text or a list of at most {MOST_WORDS} texts")
    return tuple(words)


def _priority(highest: Priority, claims: Claims, name: str | None) -> Priority:
    if name is None or name not in claims:
        return highest
    given = claims[name]
    found: Priority | None = next((one for one in RANK if one == given), None)
    if found is None:
        raise InvalidKey(f"`{name}` of this token must be one of {', '.join(RANK)}")
    return max(highest, found, key=RANK.__getitem__)


def _residency(policy: Policy, claims: Claims, name: str | None) -> Demand:
    words = _words(claims, name)
    if words is None:
        return Demand()
    try:
        return parse_demand(",".join(words), policy.zones)
    except ResidencyUnknown:
        raise InvalidKey(f"`{name}` of this token names a zone that this gateway does not have") from None
