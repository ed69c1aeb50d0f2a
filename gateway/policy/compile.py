"""A policy folder becomes a model.Policy, or a list of everything that is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from types import MappingProxyType

from gateway.catalog.cards import find
from gateway.errors import PolicyFault
from gateway.model import (
    NO_HOOK,
    RANK,
    Breaker,
    Discovery,
    Hook,
    Model,
    Policy,
    Priority,
    Served,
    Source,
    Speed,
    Tenant,
    Tls,
    Upstream,
    Workflow,
)
from gateway.policy import tls
from gateway.policy.backend_checks import backend_faults, networks_of, within
from gateway.policy.budget_checks import budget_faults
from gateway.policy.compile_rules import compile_rule, demand, headers_of
from gateway.policy.folder import Folder, read_folder
from gateway.policy.hardware import hardware
from gateway.policy.model_checks import need_of, placement_faults
from gateway.policy.oidc_checks import issuer_faults, issuers_of
from gateway.policy.price_checks import names_of, price_faults
from gateway.policy.pricing import Pricing
from gateway.policy.quotas import quotas_of, shared
from gateway.policy.residency_checks import residency_faults
from gateway.policy.routing_checks import model_faults, rule_faults, tenant_faults
from gateway.policy.schema import KeyTerms, LocalBackend, ManagedBackend, ManagedUpstream, ModelIn, ServedIn, TenantIn
from gateway.policy.secrets import resolve
from gateway.policy.source import Fault, in_order
from gateway.policy.source import Path as At
from gateway.policy.sources import Sources, read_sources
from gateway.policy.worker_schema import LocalUpstream, PatternIn, WorkerIn
from gateway.policy.workflows import workflows
from gateway.routing.estimate import MANAGED_UNIT
from gateway.routing.priors import prior_limit_us, speed_of
from gateway.routing.residency import strictest
from gateway.routing.scorers import AFFINE

DEMO_KEY = "demo"
"""Stands in Policy.keys where other tenants have keyed hashes: the demo's key needs no pepper."""
ID_DIGITS = 12
"""Of a key's hash, as the id of one that has no other: enough to tell keys apart, too few to look for one."""
CHECKS = (
    backend_faults,
    model_faults,
    placement_faults,
    rule_faults,
    tenant_faults,
    issuer_faults,
    budget_faults,
    residency_faults,
)
_US = 1_000_000
_NO_SPEED = Speed(0.0, 0.0, 0.0)
"""Of managed upstreams: their capacity is counted in requests, so nothing is ever worked out from it."""


def compile_folder(path: Path, env: Mapping[str, str] | None = os.environ, today: date | None = None) -> Policy:
    """The policy in the folder `path`. Secrets come from `env` and from files; env None leaves every key None. Prices
    are those of `today`, by default of this day (UTC).

    Raises PolicyFault with all faults found, each `file:line:column: key.path: what is wrong and what would be right`;
    the files are named relative to `path`.
    """
    return compile_files(read_folder(path), env, today)


def compile_files(folder: Folder, env: Mapping[str, str] | None, today: date | None = None) -> Policy:
    """The same for a folder that has been read already. Raises PolicyFault."""
    sources, faults = read_sources(folder)
    for check in CHECKS:
        faults += check(sources)
    pricing = Pricing(sources, today or datetime.now(UTC).date())
    faults += price_faults(sources, pricing)
    keys = _secrets(sources, folder.root, env, faults)
    secured = {} if env is None else _secured(sources, folder, faults)
    templates = workflows(sources.models.sound, sources.models.document, folder.root, faults)
    if faults:
        raise PolicyFault([str(fault) for fault in in_order(faults)])
    return _policy(sources, folder.version, keys, secured, pricing, templates)


def _secrets(sources: Sources, root: Path, env: Mapping[str, str] | None, faults: list[Fault]) -> dict[str, str | None]:
    """Upstream name -> its credential; what cannot be resolved is added to `faults`."""
    keys: dict[str, str | None] = {}
    for index, backend in sources.backends.sound.items():
        literal_allowed = isinstance(backend, ManagedBackend) and backend.simulated
        written: list[tuple[str, str | None, At]] = [
            (upstream.name, upstream.key, ("upstreams", j)) for j, upstream in enumerate(backend.upstreams)
        ]
        if isinstance(backend, LocalBackend) and backend.worker is not None:
            written.append((pattern_key(backend.name), backend.worker.key, ("worker",)))
        for name, key, at in written:
            if key is None:
                continue
            try:
                keys[name] = resolve(
                    key,
                    root,
                    env,
                    literal_allowed=literal_allowed,
                    account_allowed=isinstance(backend, ManagedBackend) and backend.dialect == "vertex",
                )
            except ValueError as error:
                faults.append(sources.backends.document.fault(("backends", index, *at, "key"), str(error)))
    for index, tenant in sources.tenants.sound.items():
        if tenant.webhook is not None and tenant.webhook.secret is not None:
            try:
                keys[hook_key(tenant.name)] = resolve(tenant.webhook.secret, root, env, literal_allowed=False)
            except ValueError as error:
                where = ("tenants", index, "webhook", "secret")
                faults.append(sources.tenants.document.fault(where, str(error)))
    return keys


def pattern_key(backend: str) -> str:
    """Where the credential of a backend's found workers is kept beside those of its upstreams: no name has a `/`."""
    return f"{backend}/*"


def hook_key(tenant: str) -> str:
    """Where the secret of a tenant's webhook is kept beside those of upstreams."""
    return f"/{tenant}"


def _secured(sources: Sources, folder: Folder, faults: list[Fault]) -> dict[str, Tls]:
    """Backend name -> what its connections are opened with; files that are no good are added to `faults`."""
    made: dict[str, Tls] = {}
    for index, backend in sources.backends.sound.items():
        if backend.tls is None:
            continue
        try:
            made[backend.name] = tls.material(folder.root, backend.tls, folder.digests)
        except tls.BadFile as bad:
            faults.append(sources.backends.document.fault(("backends", index, "tls", bad.key), str(bad)))
    return made


def _policy(
    sources: Sources,
    version: str,
    keys: Mapping[str, str | None],
    secured: Mapping[str, Tls],
    pricing: Pricing,
    templates: Mapping[str, Workflow],
) -> Policy:
    declared = dict(sources.zones or {})
    names = sources.zone_names or frozenset()
    sound = sources.backends.sound.values()
    backends = {backend.name: _upstreams(backend, keys, secured.get(backend.name), pricing) for backend in sound}
    tenants = sources.tenants.sound.values()
    rules = tuple(compile_rule(rule, sources.route(rule), names, backends) for rule in sources.rules.sound.values())
    return Policy(
        version=version,
        zones=MappingProxyType({zone: within(zone, declared) for zone in sorted(names)}),
        backends=MappingProxyType(backends),
        upstreams=MappingProxyType({up.name: up for upstreams in backends.values() for up in upstreams}),
        models=MappingProxyType(
            {model.name: _model(model, names, sources, pricing, templates) for model in sources.models.sound.values()}
        ),
        rules=rules,
        quotas=shared(sources.budgets.sound.values()),
        tenants=MappingProxyType({tenant.name: _tenant(tenant, names, keys) for tenant in tenants}),
        keys=MappingProxyType(_keys(tenants, names, keys)),
        issuers=MappingProxyType(issuers_of(sources.issuers.sound.values())),
        simulated=all(backend.simulated for backend in sound if isinstance(backend, ManagedBackend)),
        headers=frozenset(name for rule in rules for name in headers_of(rule.match)),
        discovery=MappingProxyType(
            {
                b.name: _discovery(b, keys.get(pattern_key(b.name)), secured.get(b.name), pricing)
                for b in sound
                if isinstance(b, LocalBackend) and b.discover
            }
        ),
        affine=any(name in AFFINE for rule in rules for name, _ in rule.scorers),
    )


def _upstreams(
    backend: LocalBackend | ManagedBackend, keys: Mapping[str, str | None], secured: Tls | None, pricing: Pricing
) -> tuple[Upstream, ...]:
    if isinstance(backend, ManagedBackend):
        return tuple(_account(backend, upstream, keys.get(upstream.name), secured) for upstream in backend.upstreams)
    return tuple(
        _worker(_like(backend, upstream, secured, pricing), upstream, keys.get(upstream.name))
        for upstream in backend.upstreams
    )


def _worker(like: Upstream, worker: LocalUpstream, key: str | None) -> Upstream:
    return replace(
        like,
        name=worker.name,
        url=worker.url.rstrip("/"),
        key=key,
        dcgm=worker.dcgm,
        hostname=worker.hostname,
        gpus=worker.gpu_index,
        gpu_uuids=frozenset(worker.gpu_uuid),
        pod=worker.pod,
        metrics=worker.metrics,
    )


def _like(backend: LocalBackend, worker: WorkerIn, secured: Tls | None, pricing: Pricing) -> Upstream:
    """What a worker of this backend is, whatever its name and address."""
    gpus = pricing.rented(hardware(backend, worker))
    speed = speed_of(gpus.kind)
    if backend.speed is not None:
        speed = Speed(backend.speed.step_ms, backend.speed.per_seq_ms, backend.speed.per_prompt_token_ms)
    seats, stated = worker.max_num_seqs, worker.limit_work_s
    return Upstream(
        name="",
        backend=backend.name,
        kind="local",
        url="",
        dialect="openai",
        zone=backend.zone,
        networks=networks_of(backend),
        speed=speed,
        limit=prior_limit_us(speed, seats) if stated is None else max(1, round(stated * _US)),
        seats=seats,
        engine=worker.engine,
        hardware=gpus,
        models=worker.models,
        slow_start=backend.slow_start,
        breaker=Breaker(**backend.breaker.model_dump()),
        usd_per_hour=gpus.worker_usd_per_hour,
        limit_stated=stated is not None,
        endpoints=None if backend.endpoints is None else frozenset(backend.endpoints),
        tls=secured,
    )


def _discovery(backend: LocalBackend, key: str | None, secured: Tls | None, pricing: Pricing) -> Discovery:
    worker = PatternIn() if backend.worker is None else backend.worker
    sources = tuple(
        Source(s.dns, s.srv, s.service, s.pool, bool(s.registration), s.port, s.scheme == "https")
        for s in backend.discover
    )
    pattern = replace(_like(backend, worker, secured, pricing), key=key, dcgm=worker.dcgm, gpus=worker.gpu_index)
    return Discovery(sources, pattern)


def _account(backend: ManagedBackend, account: ManagedUpstream, key: str | None, secured: Tls | None) -> Upstream:
    return Upstream(
        name=account.name,
        backend=backend.name,
        kind="managed",
        url=account.url.rstrip("/"),
        dialect=backend.dialect,
        zone=backend.zone,
        networks=networks_of(backend),
        speed=_NO_SPEED,
        limit=account.max_concurrent * MANAGED_UNIT,
        seats=account.max_concurrent,
        key=key,
        private_in=frozenset(backend.private_endpoint_in),
        simulated=backend.simulated,
        breaker=Breaker(**backend.breaker.model_dump()),
        endpoints=None if backend.endpoints is None else frozenset(backend.endpoints),
        tls=secured,
        artefact_hosts=tuple(backend.artefact_hosts),
    )


def _model(
    model: ModelIn, zones: frozenset[str], sources: Sources, pricing: Pricing, templates: Mapping[str, Workflow]
) -> Model:
    served = tuple(one for given in model.served_by for one in _served(model, given, sources, pricing, templates))
    return Model(
        model.name,
        model.modality,
        served,
        demand(model.residency, zones),
        model.custom,
        need_of(model),
        model.default_output_cap,
        model.context_tokens,
    )


def _served(
    model: ModelIn, given: ServedIn, sources: Sources, pricing: Pricing, templates: Mapping[str, Workflow]
) -> Iterator[Served]:
    backend = sources.backend(given.backend)
    for name, version, weight in names_of(given):
        price, retires, offer = None, None, None if given.can is None else given.can.made()
        if isinstance(backend, ManagedBackend):
            price = pricing.quote(backend, name, given.price, model.modality).price
            card = find(pricing.provider(backend), name)
            offer = card.offer if card is not None and offer is None else offer
            retires = None if card is None else card.retires
        template = templates.get(given.workflow or "")
        yield Served(given.backend, name, price, version, weight, offer, template, retires)


def _tenant(tenant: TenantIn, zones: frozenset[str], keys: Mapping[str, str | None]) -> Tenant:
    return Tenant(
        name=tenant.name,
        models=tenant.models,
        residency=demand(tenant.residency, zones),
        priority=tenant.priority,
        tags=frozenset(tenant.tags),
        weight=tenant.weight,
        quotas=quotas_of("tenant", tenant.name, tenant.limits, tenant.budgets),
        hook=NO_HOOK if tenant.webhook is None else Hook(tenant.webhook.url, keys.get(hook_key(tenant.name))),
    )


def of_key(tenant: Tenant, id: str, key: KeyTerms, zones: frozenset[str]) -> Tenant:
    """The tenant as the holder of this key is: with no more than the tenant itself may do. Raises ResidencyUnknown."""
    return replace(
        tenant,
        key=id,
        residency=strictest(tenant.residency, demand(key.residency, zones)),
        also_models=key.models,
        priority=lower(tenant.priority, key.priority),
        tags=tenant.tags | frozenset(key.tags),
        expires=None if key.expires is None else key.expires.timestamp(),
        quotas=(*tenant.quotas, *quotas_of("key", f"{tenant.name}/{id}", key.limits, key.budgets)),
    )


def lower(highest: Priority, own: Priority | None) -> Priority:
    return own if own is not None and RANK[own] > RANK[highest] else highest


def _keys(tenants: Iterable[TenantIn], zones: frozenset[str], secrets: Mapping[str, str | None]) -> dict[str, Tenant]:
    """Keyed hash -> its tenant, under the demand of that key too."""
    made: dict[str, Tenant] = {}
    for tenant in tenants:
        whole = _tenant(tenant, zones, secrets)
        for key in tenant.keys:
            made[key.hash] = of_key(whole, key.id or key.hash[:ID_DIGITS], key, zones)
        if tenant.demo:
            made[DEMO_KEY] = whole
    return made
