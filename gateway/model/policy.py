"""A compiled policy folder, and who may call under it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.model.money import Quota
from gateway.model.rule import Rule
from gateway.model.upstream import Discovery, Model, Served, Upstream
from gateway.model.words import NO_DEMAND, Demand, Kind, Priority


@dataclass(frozen=True, slots=True)
class Hook:
    """Where a tenant hears how its jobs ended."""

    url: str | None = field(default=None, repr=False)
    """None: where a request itself says."""
    secret: str | None = field(default=None, repr=False)
    """What signs it; None: the gateway's own."""


NO_HOOK = Hook()


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who pays. `models` is an allow-list of globs; None allows all."""

    name: str
    models: tuple[str, ...] | None = None
    residency: Demand = NO_DEMAND
    priority: Priority = "interactive"
    tags: frozenset[str] = frozenset()
    weight: float = 1.0
    """Its share of a line, beside the other tenants that wait in its class."""
    also_models: tuple[str, ...] | None = None
    """A second allow-list that must hold too: the key's own."""
    key: str = ""
    """The id of the key that was shown: what ledger and receipts call it, never the key."""
    quotas: tuple[Quota, ...] = field(default=(), hash=False)
    """Of the tenant, and of that key alone. Not hashed: tenants are looked up by with every request."""
    expires: float | None = None
    """Seconds since the epoch from which the key opens nothing."""
    hook: Hook = NO_HOOK


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who signs tokens that stand for a key, and what is read from them. `limits` are quotas of each subject; their
    names say what they count, not yet whose they are."""

    name: str
    url: str
    """`iss`, to the letter."""
    audience: tuple[str, ...]
    """One of them must be in `aud`."""
    jwks_url: str | None
    """Where its keys are; None: its discovery document says."""
    algorithms: tuple[str, ...]
    """Asymmetric ones alone."""
    leeway: float
    """Seconds that its clock and ours may differ."""
    tenant_claim: str
    tenants: Mapping[str, str] | None = None
    """Value of that claim -> tenant; None: the value is the tenant's name."""
    models_claim: str | None = None
    priority_claim: str | None = None
    residency_claim: str | None = None
    tags_claim: str | None = None
    limits: tuple[Quota, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """A compiled folder: immutable; `version` is the hash of its content."""

    version: str
    zones: Mapping[str, frozenset[str]]
    backends: Mapping[str, tuple[Upstream, ...]]
    upstreams: Mapping[str, Upstream]
    models: Mapping[str, Model]
    rules: tuple[Rule, ...]
    tenants: Mapping[str, Tenant]
    keys: Mapping[str, Tenant]
    """Keyed hash of a key -> its tenant, with what is demanded of that key alone."""
    simulated: bool
    """True where every managed backend is a simulated one on loopback: only then does the key `demo` work."""
    headers: frozenset[str] = frozenset()
    """The request headers that its rules look at, in lower case: no other is kept for routing."""
    affine: bool = False
    """Whether any rule scores by the beginning of the prompt: else nobody works it out."""
    quotas: tuple[Quota, ...] = ()
    """Those that are nobody's own: of models, backends, pipelines, of everything."""
    issuers: Mapping[str, Issuer] = field(default_factory=dict)
    """`iss` of a token -> who that is."""
    discovery: Mapping[str, Discovery] = field(default_factory=dict)
    """Backend -> where its further workers are found; one without an entry has those written down."""

    def kind(self, backend: str) -> Kind:
        """An API always has an account; our own machines may have no worker at this moment."""
        upstreams = self.backends[backend]
        return upstreams[0].kind if upstreams else "local"

    def ways(self, model: Model, backend: str) -> tuple[Served, ...]:
        """How `backend` serves `model`: once, in several versions, or not at all. A custom model is served by no bought
        API, whatever else is written."""
        if model.custom and self.kind(backend) == "managed":
            return ()
        return tuple(served for served in model.served_by if served.backend == backend)
