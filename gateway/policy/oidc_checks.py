"""What must hold of `oidc:` beyond its shape, and the issuers that come of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from gateway.model import Issuer
from gateway.policy.addresses import address_fault, is_loopback
from gateway.policy.oidc_schema import IssuerIn
from gateway.policy.quotas import quotas_of
from gateway.policy.references import repeated, unknown
from gateway.policy.source import Fault, Path
from gateway.policy.sources import Sources


def issuer_faults(sources: Sources) -> Iterator[Fault]:
    document, issuers = sources.issuers.document, sources.issuers.sound
    yield from repeated(document, [(("oidc", i, "name"), one.name) for i, one in issuers.items()])
    seen: set[str] = set()
    for index, one in issuers.items():
        at: Path = ("oidc", index)
        if one.issuer in seen:
            yield document.fault((*at, "issuer"), "is there already; a token must have one meaning")
        seen.add(one.issuer)
        for key, url in (("issuer", one.issuer), ("jwks_url", one.jwks_url)):
            said = None if url is None else _address_fault(url)
            if said is not None:
                yield document.fault((*at, key), said)
        for value, tenant in (one.tenants or {}).items():
            yield from unknown(document, (*at, "tenants", value), "tenant", tenant, sources.tenants.names)


def _address_fault(url: str) -> str | None:
    if not url.startswith("https://") and not is_loopback(url):
        return "must begin with https://: whoever is between here and there could give out keys of its own"
    said = address_fault(url)
    return "must not hold credentials: it is public" if said is not None and "@" in url else said


def issuers_of(written: Iterable[IssuerIn]) -> dict[str, Issuer]:
    """`iss` -> issuer."""
    return {one.issuer: _issuer(one) for one in written}


def _issuer(one: IssuerIn) -> Issuer:
    limits = quotas_of("key", one.name, one.limits, one.budgets)
    return Issuer(
        one.name,
        one.issuer,
        one.audience,
        one.jwks_url,
        one.algorithms,
        one.leeway,
        one.claims.tenant,
        one.tenants,
        one.claims.models,
        one.claims.priority,
        one.claims.residency,
        one.claims.tags,
        tuple(replace(quota, name=quota.name.partition(": ")[2]) for quota in limits),
    )
