"""`oidc:` of tenants.yaml: whose tokens stand for a key, and what is read from them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gateway.policy.money_schema import BudgetIn, LimitsIn
from gateway.policy.strict import Strict
from gateway.policy.words import Duration, Listed, Name, OneOrMore

Text = Annotated[str, Field(min_length=1, max_length=512)]
Leeway = Annotated[Duration, Field(le=300)]
"""Five minutes: the clocks of two services do not differ more, and a token is good for so much longer."""
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Asymmetric ones alone: under a shared secret whoever can check a token can make one."""


class ClaimsIn(Strict):
    """Names of claims. One that a token lacks leaves the caller what the tenant has; none gives more than that, but
    for tags."""

    tenant: Text
    """Whose the token is: its value, or one of a list, by `tenants`."""
    models: Text | None = None
    """Globs of what the caller may use: a list, or words in one text."""
    priority: Text | None = None
    """The highest the caller may ask for."""
    residency: Text | None = None
    """Where the caller's data must stay: a list, or as in X-Data-Residency."""
    tags: Text | None = None
    """Names beside the tenant's tags: a list, or words in one text."""


class IssuerIn(Strict):
    """Somebody who signs tokens (JWT) that callers send instead of a key."""

    name: Name
    """What keys and reports call it: the caller is `name:sub`."""
    issuer: Text
    """`iss` of its tokens, to the letter; https, or http on loopback."""
    audience: OneOrMore[Text]
    """One of them must be in `aud`: what this gateway is called there."""
    jwks_url: Text | None = None
    """Where its public keys are; default: where ISSUER/.well-known/openid-configuration says."""
    algorithms: OneOrMore[Algorithm] = ("RS256", "ES256")
    """Those that its tokens may be signed with."""
    leeway: Leeway = 30.0
    """By how much its clock and ours may differ, five minutes at most."""
    claims: ClaimsIn
    """What is read from its tokens."""
    tenants: dict[Text, Name] | None = None
    """Value of `claims.tenant` -> the tenant; default: the value is the tenant's name."""
    limits: LimitsIn | None = None
    """How much each subject (`sub`) may ask for, beside what its tenant may."""
    budgets: Listed[BudgetIn] = ()
    """What each subject may spend, beside what its tenant may."""
