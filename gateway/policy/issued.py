"""Keys that are made at run time: the same terms as a key of tenants.yaml, and what they open under a policy."""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

from gateway.errors import InvalidKey, InvalidRequest, ResidencyUnknown
from gateway.model import IssuedKey, Policy, Tenant
from gateway.policy.compile import of_key
from gateway.policy.schema import KeyTerms
from gateway.policy.words import Name

_OUR_WORDS: Final = "Value error, "
"""What pydantic puts before the message of a validator of ours."""


class NewKeyIn(KeyTerms):
    """What is asked for: the terms of a key, and whose it is to be."""

    tenant: Name


def read_new(raw: bytes) -> NewKeyIn:
    """Raises InvalidRequest, which names the place and quotes nothing."""
    try:
        return NewKeyIn.model_validate_json(raw)
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False, include_context=False)[0]
        said = first["msg"].removeprefix(_OUR_WORDS)
        path = ".".join(str(part) for part in first["loc"]) or "(body)"
        known = "tenant, " + ", ".join(KeyTerms.model_fields)
        raise InvalidRequest(f"{path}: {said}; the body of a key is {{{known}}}", param=path) from None


def terms_of(asked: NewKeyIn) -> str:
    """To be kept with the key."""
    return asked.model_dump_json(exclude={"tenant"}, exclude_defaults=True)


def granted(policy: Policy, key: IssuedKey) -> Tenant:
    """What the key opens: its tenant, with no more than that one may do. Raises InvalidKey where that is nothing."""
    tenant = policy.tenants.get(key.tenant)
    if tenant is None:
        raise InvalidKey("the tenant of this key is gone")
    try:
        return of_key(tenant, key.id, KeyTerms.model_validate_json(key.terms), frozenset(policy.zones))
    except ValidationError:
        raise InvalidKey("what this key may do was written by another release of the gateway") from None
    except ResidencyUnknown:
        raise InvalidKey("the residency of this key names a zone that this gateway does not have any more") from None
