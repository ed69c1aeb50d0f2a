"""Checks of backends.yaml beyond its shape. Each yields faults and looks at one thing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from urllib.parse import urlsplit

from gateway.model import Network
from gateway.policy.addresses import LOOPBACK, address_fault, before_api, is_loopback, outside
from gateway.policy.references import repeated, unknown
from gateway.policy.schema import LocalBackend, ManagedBackend, Zone
from gateway.policy.source import Document, Fault, Path
from gateway.policy.sources import Sources
from gateway.policy.worker_schema import LocalUpstream, WorkerIn
from gateway.routing.join import HOST
from gateway.routing.residency import LOCAL

_SOMEWHERE = "10.0.0.1"
"""Any address, to try a pattern with."""


def backend_faults(sources: Sources) -> Iterator[Fault]:
    document = sources.backends.document
    yield from _zone_faults(document, sources.zones or {})
    yield from repeated(document, [(("backends", i, "name"), b.name) for i, b in sources.backends.sound.items()])
    upstreams = [
        (("backends", i, "upstreams", j, "name"), upstream.name)
        for i, backend in sources.backends.sound.items()
        for j, upstream in enumerate(backend.upstreams)
    ]
    yield from repeated(document, upstreams)
    yield from _borrowed(sources)
    for index, backend in sources.backends.sound.items():
        path = ("backends", index)
        yield from unknown(document, (*path, "zone"), "zone", backend.zone, sources.zone_names)
        yield from _address_faults(document, path, backend)
        yield from _network_faults(document, path, backend)
        yield from _tls_faults(document, path, backend)
        if isinstance(backend, ManagedBackend):
            for j, zone in enumerate(backend.private_endpoint_in):
                yield from unknown(document, (*path, "private_endpoint_in", j), "zone", zone, sources.zone_names)
        else:
            for j, worker in enumerate(backend.upstreams):
                yield from _gpu_faults(document, (*path, "upstreams", j), worker)
            yield from _pattern_faults(document, (*path, "worker"), backend)


def _borrowed(sources: Sources) -> Iterator[Fault]:
    """Upstreams that are called like another backend: on receipts and in metrics one would be taken for the other."""
    names = {backend.name for backend in sources.backends.sound.values()}
    written = Counter(upstream.name for backend in sources.backends.sound.values() for upstream in backend.upstreams)
    for index, backend in sources.backends.sound.items():
        for j, upstream in enumerate(backend.upstreams):
            if upstream.name in names - {backend.name} and written[upstream.name] == 1:
                said = f"`{upstream.name}` is the name of another backend; give one of them another name"
                yield sources.backends.document.fault(("backends", index, "upstreams", j, "name"), said)


def networks_of(backend: LocalBackend | ManagedBackend) -> tuple[Network, ...]:
    """Where a connected peer may be: as declared, else loopback where every address is one; () is anywhere."""
    if backend.networks:
        return tuple(ip_network(network) for network in backend.networks)
    return LOOPBACK if backend.upstreams and all(is_loopback(upstream.url) for upstream in backend.upstreams) else ()


def within(zone: str, zones: Mapping[str, Zone]) -> frozenset[str]:
    """The zone and all that contain it, however far up."""
    found: set[str] = set()
    ahead = [zone]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += zones[name].within if name in zones else ()
    return frozenset(found)


def _zone_faults(document: Document, zones: Mapping[str, Zone]) -> Iterator[Fault]:
    for name, zone in zones.items():
        if name == LOCAL:
            said = "`local` already means our own machines; give the zone another name"
            yield document.fault(("zones", name), said, key=True)
        for index, parent in enumerate(zone.within):
            path: Path = ("zones", name, "within", index)
            if parent == LOCAL:
                yield document.fault(path, "`local` already means our own machines; give the zone another name")
            if name in within(parent, zones):
                yield document.fault(path, f"`{parent}` lies in `{name}` already: zones cannot contain each other")


def _address_faults(document: Document, path: Path, backend: LocalBackend | ManagedBackend) -> Iterator[Fault]:
    for index, upstream in enumerate(backend.upstreams):
        at: Path = (*path, "upstreams", index)
        said = address_fault(upstream.url)
        if said is None and isinstance(backend, ManagedBackend) and backend.simulated and not is_loopback(upstream.url):
            said = "must be on loopback: this backend is `simulated: true`"
        if said is None and networks_of(backend) and outside(upstream.url, networks_of(backend)):
            said = "lies outside this backend's `networks`, so every connection would be refused"
        if said is None and backend.kind == "local" and (root := before_api(upstream.url)) is not None:
            said = f'a worker\'s address has no API path; write "{root}"'
        if said is not None:
            yield document.fault((*at, "url"), said)
        if isinstance(upstream, LocalUpstream) and upstream.dcgm is not None and (said := address_fault(upstream.dcgm)):
            yield document.fault((*at, "dcgm"), said)


def _network_faults(document: Document, path: Path, backend: LocalBackend | ManagedBackend) -> Iterator[Fault]:
    if networks_of(backend) or any(address_fault(upstream.url) for upstream in backend.upstreams):
        return
    if backend.kind == "local":
        yield document.fault(
            (*path, "networks"), "is required: the networks of these workers, such as [10.20.0.0/16]", key=True
        )
    elif backend.private_endpoint_in:
        said = "is required with `private_endpoint_in`: the networks of the private endpoint, such as [10.30.0.0/16]"
        yield document.fault((*path, "networks"), said, key=True)


def _tls_faults(document: Document, path: Path, backend: LocalBackend | ManagedBackend) -> Iterator[Fault]:
    for index, upstream in enumerate(backend.upstreams if backend.tls is not None else ()):
        if not upstream.url.startswith("https://") and address_fault(upstream.url) is None:
            said = "must begin with https://: this backend has `tls`"
            yield document.fault((*path, "upstreams", index, "url"), said)


def _pattern_faults(document: Document, path: Path, backend: LocalBackend) -> Iterator[Fault]:
    if backend.worker is None:
        return
    yield from _gpu_faults(document, path, backend.worker)
    page = backend.worker.dcgm
    if page is None:
        return
    said = address_fault(page.replace(HOST, _SOMEWHERE))
    if said is None and HOST in page and (urlsplit(page).hostname != HOST or page.count(HOST) > 1):
        said = f'may have {HOST} as its host only, such as "http://{HOST}:9400/metrics"'
    if said is None and HOST not in page and not all(source.service or source.pool for source in backend.discover):
        said = (
            f'must have {HOST} as its host, such as "http://{HOST}:9400/metrics": only pods are told apart on one page'
        )
    if said is not None:
        yield document.fault((*path, "dcgm"), said)


def _gpu_faults(document: Document, path: Path, worker: WorkerIn) -> Iterator[Fault]:
    for key in ("gpu_index", "gpu_uuid"):
        labels = getattr(worker, key, None) or ()
        if len(set(labels)) < len(labels):
            yield document.fault((*path, key), "names a GPU twice")
        elif labels and worker.gpus is not None and worker.gpus != len(labels):
            said = f"says {worker.gpus} but `{key}` names {len(labels)}; make them agree"
            yield document.fault((*path, "gpus"), said)
