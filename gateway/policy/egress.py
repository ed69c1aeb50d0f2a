"""Where a policy folder sends anything: networks of workers, hosts of bought APIs, and who else is asked or told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from gateway.policy.addresses import is_loopback
from gateway.policy.money_schema import BudgetIn
from gateway.policy.schema import LocalBackend, ManagedBackend
from gateway.policy.sources import Sources

_PORTS = {"http": 80, "https": 443}
_HTTPS = 443
ResultHosts = Callable[[str], Iterable[str]]
"""Dialect -> hosts, or globs of them, that it asks beside the upstream's own."""


@dataclass(frozen=True, slots=True)
class Workers:
    """A network with workers in it. No ports: any, because who is found there tells its own."""

    cidr: str
    ports: tuple[int, ...]
    why: tuple[str, ...]
    """Names of backends."""


@dataclass(frozen=True, slots=True)
class Host:
    """`cidrs` is empty where the folder does not say in which networks the host is."""

    host: str
    """A name, an IP address, or a glob such as *.example.com."""
    port: int
    cidrs: tuple[str, ...]
    why: tuple[str, ...]
    """Names of backends, issuers, tenants and budgets."""


@dataclass(frozen=True, slots=True)
class Egress:
    workers: tuple[Workers, ...]
    managed: tuple[Host, ...]
    """Bought APIs, and hosts where their results lie."""
    services: tuple[Host, ...]
    """Issuers of tokens and webhooks: whoever has them needs them without bought APIs too."""
    service_namespaces: tuple[str, ...]
    """Kubernetes namespaces whose EndpointSlices are watched."""
    pool_namespaces: tuple[str, ...]
    """The same of InferencePools and their pods."""


@dataclass(slots=True)
class _Found:
    networks: dict[str, tuple[set[int], set[str]]] = field(default_factory=dict)
    open_ended: set[str] = field(default_factory=set)
    """Networks where workers with ports of their own are found."""

    def add(self, cidr: str, ports: Iterable[int | None], backend: str) -> None:
        known, why = self.networks.setdefault(cidr, (set(), set()))
        why.add(backend)
        for port in ports:
            if port is None:
                self.open_ended.add(cidr)
            else:
                known.add(port)

    def listed(self) -> tuple[Workers, ...]:
        return tuple(
            Workers(cidr, () if cidr in self.open_ended else tuple(sorted(ports)), tuple(sorted(why)))
            for cidr, (ports, why) in sorted(self.networks.items())
        )


def egress(sources: Sources, result_hosts: ResultHosts) -> Egress:
    """Of what is sound in the folder. What stays on loopback is not there."""
    backends = list(sources.backends.sound.values())
    local = [one for one in backends if isinstance(one, LocalBackend)]
    found = _Found()
    for backend in local:
        _workers(backend, found)
    managed = (row for one in backends if isinstance(one, ManagedBackend) for row in _managed(one, result_hosts))
    places = [place for backend in local for place in backend.discover]
    return Egress(
        workers=found.listed(),
        managed=_merged(managed),
        services=_merged(_services(sources)),
        service_namespaces=_namespaces(place.service for place in places),
        pool_namespaces=_namespaces(place.pool for place in places),
    )


def _workers(backend: LocalBackend, found: _Found) -> None:
    """Pages of GPUs by IP address outside of the backend's networks are networks of their own."""
    networks = [cidr for cidr in backend.networks if not ip_network(cidr).is_loopback]
    pages = [url for one in backend.upstreams for url in (one.dcgm, one.metrics) if url is not None]
    if backend.worker is not None and backend.worker.dcgm is not None:
        pages.append(backend.worker.dcgm)
    inside = [_port(one.url) for one in backend.upstreams]
    for url in pages:
        address = _ip(_host(url))
        if address is None or any(address in ip_network(cidr) for cidr in networks):
            inside.append(_port(url))
        elif not address.is_loopback:
            found.add(_alone(url), [_port(url)], backend.name)
    told = [place.port if isinstance(place.port, int) and place.dns else None for place in backend.discover]
    for cidr in networks:
        found.add(cidr, [*inside, *told], backend.name)


_Row = tuple[str, int, tuple[str, ...], str]
"""Host, port, networks, who wants it."""


def _managed(backend: ManagedBackend, result_hosts: ResultHosts) -> Iterator[_Row]:
    away = [one for one in backend.upstreams if not is_loopback(one.url)]
    for upstream in away:
        yield _host(upstream.url), _port(upstream.url), backend.networks or _own(upstream.url), backend.name
    if away:
        for host in (*result_hosts(backend.dialect), *backend.artefact_hosts):
            yield host, _HTTPS, (), backend.name


def _services(sources: Sources) -> Iterator[_Row]:
    for issuer in sources.issuers.sound.values():
        yield from _service(issuer.jwks_url or issuer.issuer, issuer.name)
    for owner, budget in _budgets(sources):
        if budget.webhook is not None:
            yield from _service(budget.webhook, owner)
    for tenant in sources.tenants.sound.values():
        if tenant.webhook is not None and tenant.webhook.url is not None:
            yield from _service(tenant.webhook.url, tenant.name)


def _service(url: str, why: str) -> Iterator[_Row]:
    if not is_loopback(url):
        yield _host(url), _port(url), _own(url), why


def _budgets(sources: Sources) -> Iterator[tuple[str, BudgetIn]]:
    for tenant in sources.tenants.sound.values():
        of_keys = (budget for key in tenant.keys for budget in key.budgets)
        yield from ((tenant.name, budget) for budget in (*tenant.budgets, *of_keys))
    for issuer in sources.issuers.sound.values():
        yield from ((issuer.name, budget) for budget in issuer.budgets)
    yield from ((budget.name, budget) for budget in sources.budgets.sound.values())


def _merged(rows: Iterable[_Row]) -> tuple[Host, ...]:
    found: dict[tuple[str, int], tuple[set[str], set[str]]] = {}
    for host, port, cidrs, why in rows:
        known, names = found.setdefault((host, port), (set(), set()))
        known.update(cidrs)
        names.add(why)
    return tuple(
        Host(host, port, tuple(sorted(cidrs)), tuple(sorted(names)))
        for (host, port), (cidrs, names) in sorted(found.items())
    )


def _namespaces(named: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({name.partition("/")[0] for name in named if name is not None}))


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or _PORTS[parts.scheme]


def _own(url: str) -> tuple[str, ...]:
    """The network of an IP address alone; none of a name."""
    return () if _ip(_host(url)) is None else (_alone(url),)


def _alone(url: str) -> str:
    return str(ip_network(_host(url)))


def _ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
