"""An issuer of tokens: real keys, and a policy that trusts it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from gateway.model import Issuer, Policy, Tenant
from tests.worlds import ZONES, policy

URL, AUDIENCE = "https://login.example.com/", "hybrid-gateway"
ISSUER = Issuer(
    "corp",
    URL,
    (AUDIENCE, "other-name-of-it"),
    URL + "keys",
    ("RS256", "ES256", "EdDSA", "PS256"),
    leeway=5.0,
    tenant_claim="org",
    tenants=None,
    models_claim="models",
    priority_claim="priority",
    residency_claim="residency",
    tags_claim="tags",
)
_KINDS: Mapping[str, Any] = {"RS256": RSAAlgorithm, "PS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}


def trusting(issuer: Issuer = ISSUER, *tenants: Tenant) -> Policy:
    named = {one.name: one for one in tenants or (Tenant("acme"),)}
    return replace(policy(), zones=ZONES, tenants=named, issuers={issuer.url: issuer})


def private_key(algorithm: str) -> Any:
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else rsa.generate_private_key(65537, 2048)


@dataclass
class Signer:
    """One key of the issuer."""

    kid: str = "k1"
    algorithm: str = "ES256"
    key: Any = None
    claims: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.key = self.key or private_key(self.algorithm)

    def token(self, headers: Mapping[str, Any] | None = None, **more: Any) -> str:
        """A good token for an hour; what is given as None is left out."""
        usual = {"iss": URL, "aud": AUDIENCE, "sub": "alice", "org": "acme", "exp": time.time() + 3600, **self.claims}
        claims = {name: value for name, value in {**usual, **more}.items() if value is not None}
        return jwt.encode(claims, self.key, self.algorithm, {"kid": self.kid, **(headers or {})})

    def public(self, **more: Any) -> dict[str, Any]:
        made = json.loads(_KINDS[self.algorithm].to_jwk(self.key.public_key()))
        return {**made, "kid": self.kid, "use": "sig", **more}


def document(signers: Sequence[Signer]) -> bytes:
    return json.dumps({"keys": [one.public() for one in signers]}).encode()
