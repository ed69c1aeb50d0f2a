"""A policy folder becomes a model.Policy, or a list of everything that is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from gateway.errors import PolicyFault
from gateway.model import Model, Policy, Price, Served, Speed, Tenant, Tls, Upstream
from gateway.policy import tls
from gateway.policy.backend_checks import backend_faults, networks_of, within
from gateway.policy.compile_rules import compile_rule, demand, headers_of
from gateway.policy.folder import Folder, read_folder
from gateway.policy.residency_checks import residency_faults
from gateway.policy.routing_checks import model_faults, rule_faults, tenant_faults
from gateway.policy.schema import LocalBackend, LocalUpstream, ManagedBackend, ManagedUpstream, ModelIn, TenantIn
from gateway.policy.secrets import resolve
from gateway.policy.source import Fault, in_order
from gateway.policy.sources import Sources, read_sources
from gateway.routing.estimate import MANAGED_UNIT
from gateway.routing.priors import prior_limit_us, speed_of
from gateway.routing.residency import strictest
from gateway.routing.scorers import AFFINE

DEMO_KEY = "demo"
"""Stands in Policy.keys where other tenants have keyed hashes: the demo's key needs no pepper."""
_US = 1_000_000
_NO_SPEED = Speed(0.0, 0.0, 0.0)
"""Of managed upstreams: their capacity is counted in requests, so nothing is ever worked out from it."""


def compile_folder(path: Path, env: Mapping[str, str] | None = os.environ) -> Policy:
    """The policy in the folder `path`. Secrets come from `env` and from files; env None leaves every key None.

    Raises PolicyFault with all faults found, each `file:line:column: key.path: what is wrong and what would be right`;
    the files are named relative to `path`.
    """
    return compile_files(read_folder(path), env)


def compile_files(folder: Folder, env: Mapping[str, str] | None) -> Policy:
    """The same for a folder that has been read already. Raises PolicyFault."""
    sources, faults = read_sources(folder)
    for check in (backend_faults, model_faults, rule_faults, tenant_faults, residency_faults):
        faults += check(sources)
    keys = _secrets(sources, folder.root, env, faults)
    secured = {} if env is None else _secured(sources, folder, faults)
    if faults:
        raise PolicyFault([str(fault) for fault in in_order(faults)])
    return _policy(sources, folder.version, keys, secured)


def _secrets(sources: Sources, root: Path, env: Mapping[str, str] | None, faults: list[Fault]) -> dict[str, str | None]:
    """Upstream name -> its credential; what cannot be resolved is added to `faults`."""
    keys: dict[str, str | None] = {}
    for index, backend in sources.backends.sound.items():
        literal_allowed = isinstance(backend, ManagedBackend) and backend.simulated
        for j, upstream in enumerate(backend.upstreams):
            if upstream.key is None:
                continue
            try:
                keys[upstream.name] = resolve(upstream.key, root, env, literal_allowed=literal_allowed)
            except ValueError as error:
                path = ("backends", index, "upstreams", j, "key")
                faults.append(sources.backends.document.fault(path, str(error)))
    return keys


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


def _policy(sources: Sources, version: str, keys: Mapping[str, str | None], secured: Mapping[str, Tls]) -> Policy:
    declared = dict(sources.zones or {})
    names = sources.zone_names or frozenset()
    sound = sources.backends.sound.values()
    backends = {backend.name: _upstreams(backend, keys, secured.get(backend.name)) for backend in sound}
    tenants = sources.tenants.sound.values()
    rules = tuple(compile_rule(rule, sources.route(rule), names, backends) for rule in sources.rules.sound.values())
    return Policy(
        version=version,
        zones=MappingProxyType({zone: within(zone, declared) for zone in sorted(names)}),
        backends=MappingProxyType(backends),
        upstreams=MappingProxyType({up.name: up for upstreams in backends.values() for up in upstreams}),
        models=MappingProxyType({m.name: _model(m, names) for m in sources.models.sound.values()}),
        rules=rules,
        tenants=MappingProxyType({tenant.name: _tenant(tenant, names) for tenant in tenants}),
        keys=MappingProxyType(_keys(tenants, names)),
        simulated=all(backend.simulated for backend in sound if isinstance(backend, ManagedBackend)),
        headers=frozenset(name for rule in rules for name in headers_of(rule.match)),
        affine=any(name in AFFINE for rule in rules for name, _ in rule.scorers),
    )


def _upstreams(
    backend: LocalBackend | ManagedBackend, keys: Mapping[str, str | None], secured: Tls | None
) -> tuple[Upstream, ...]:
    if isinstance(backend, ManagedBackend):
        return tuple(_account(backend, upstream, keys.get(upstream.name), secured) for upstream in backend.upstreams)
    return tuple(_worker(backend, upstream, keys.get(upstream.name), secured) for upstream in backend.upstreams)


def _worker(backend: LocalBackend, worker: LocalUpstream, key: str | None, secured: Tls | None) -> Upstream:
    gpu = backend.gpu
    speed = speed_of(gpu.kind if gpu else None)
    if backend.speed is not None:
        speed = Speed(backend.speed.step_ms, backend.speed.per_seq_ms, backend.speed.per_prompt_token_ms)
    seats = worker.max_num_seqs
    count = worker.gpus or len(worker.gpu_index or (0,))
    limit = prior_limit_us(speed, seats) if worker.limit_work_s is None else max(1, round(worker.limit_work_s * _US))
    return Upstream(
        name=worker.name,
        backend=backend.name,
        kind="local",
        url=worker.url.rstrip("/"),
        dialect="openai",
        zone=backend.zone,
        networks=networks_of(backend),
        speed=speed,
        limit=limit,
        seats=seats,
        key=key,
        engine=worker.engine,
        dcgm=worker.dcgm,
        hostname=worker.hostname,
        gpus=worker.gpu_index,
        usd_per_hour=None if gpu is None or gpu.usd_per_hour is None else gpu.usd_per_hour * count,
        limit_stated=worker.limit_work_s is not None,
        endpoints=None if backend.endpoints is None else frozenset(backend.endpoints),
        tls=secured,
    )


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
        endpoints=None if backend.endpoints is None else frozenset(backend.endpoints),
        tls=secured,
    )


def _model(model: ModelIn, zones: frozenset[str]) -> Model:
    served = tuple(
        Served(s.backend, s.as_, None if s.price is None else Price(**s.price.model_dump())) for s in model.served_by
    )
    return Model(model.name, model.modality, served, demand(model.residency, zones))


def _tenant(tenant: TenantIn, zones: frozenset[str]) -> Tenant:
    return Tenant(tenant.name, tenant.models, demand(tenant.residency, zones), tenant.priority, frozenset(tenant.tags))


def _keys(tenants: Iterable[TenantIn], zones: frozenset[str]) -> dict[str, Tenant]:
    """Keyed hash -> its tenant, under the demand of that key too."""
    made: dict[str, Tenant] = {}
    for tenant in tenants:
        whole = _tenant(tenant, zones)
        for key in tenant.keys:
            stricter = strictest(whole.residency, demand(key.residency, zones))
            made[key.hash] = whole if stricter == whole.residency else replace(whole, residency=stricter)
        if tenant.demo:
            made[DEMO_KEY] = whole
    return made
