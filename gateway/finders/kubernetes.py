"""Workers in Kubernetes: the EndpointSlices of a Service, or the pods that an InferencePool selects.

Lists, then watches from there; lists again where the server no longer knows the version (410), or has said nothing for
a while. Needs the extra `kubernetes`; it is imported where a policy asks for it (`finders/watch.py`). The API is found
as kubectl finds it: in a pod by its service account, elsewhere by KUBECONFIG.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, cast

from lightkube import AsyncClient, KubeConfig
from lightkube.generic_resource import create_namespaced_resource
from lightkube.resources.core_v1 import Pod
from lightkube.resources.discovery_v1 import EndpointSlice

from gateway.finders.report import Report
from gateway.model import Member, Source
from gateway.routing.join import plain, url_of

WATCH_SECONDS = 30
"""How long the server is asked to keep a watch open."""
SILENT_SECONDS = 40.0
"""Without any event for so long the list is read again: a connection may be dead without either end having heard."""
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 10.0
"""After a failure, at first and at most. What was found last is kept until the server answers again."""
CHUNK = 500
GONE, FORBIDDEN = 410, (401, 403)
FQDN = "FQDN"
"""An address type whose meaning the API leaves open; deprecated, and no IP address."""
SERVICE_LABEL = "kubernetes.io/service-name"
InferencePool = create_namespaced_resource("inference.networking.k8s.io", "v1", "InferencePool", "inferencepools")

Objects = Mapping[str, Any]
"""Name -> object of one kind, in one namespace."""


class NotThere(Exception):
    """What the policy names is not in the cluster, or does not say what is needed. The message tells what."""


async def follow(backend: str, source: Source, report: Report) -> None:
    """Follows `source.service` or `source.pool` until cancelled."""
    pause = PAUSE_SECONDS
    while True:
        began = time.monotonic()
        try:
            async with aclosing(AsyncClient(config=KubeConfig.from_env().get(), trust_env=False)) as client:
                await (_service if source.service is not None else _pool)(client, backend, source, report)
        except Exception as fault:  # it must go on, whatever configuration, network and server do
            report.failed(_told(fault))
        if time.monotonic() - began > LONGEST_PAUSE_SECONDS:
            pause = PAUSE_SECONDS  # it had been well
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


async def _service(client: AsyncClient, backend: str, source: Source, report: Report) -> None:
    namespace, _, name = (source.service or "").partition("/")

    def changed(slices: Objects) -> None:
        report.found(endpoints(backend, source, slices.values()))
        report.failed(None if slices else "it has no EndpointSlices: is there such a Service?")

    await _objects(client, EndpointSlice, namespace, changed, labels={SERVICE_LABEL: name})


async def _pool(client: AsyncClient, backend: str, source: Source, report: Report) -> None:
    """The pods are followed anew when the pool selects others, or names other ports."""
    namespace, _, name = (source.pool or "").partition("/")
    turn, spec = asyncio.Event(), dict[str, Any]()

    def changed(pools: Objects) -> None:
        new = dict(pools[name].get("spec") or {}) if name in pools else {}
        if not new:
            report.failed("there is no such InferencePool")
            report.found(frozenset())
        if new != spec:
            spec.clear()
            spec.update(new)
            turn.set()

    async def pods() -> None:
        labels, ports = _selected(spec)

        def came(found: Objects) -> None:
            report.found(selected(backend, source, ports, found.values()))
            report.failed(None)

        await _objects(client, Pod, namespace, came, labels=labels)

    async with asyncio.TaskGroup() as group:
        group.create_task(_objects(client, InferencePool, namespace, changed, fields={"metadata.name": name}))
        following: asyncio.Task[None] | None = None
        while True:
            await turn.wait()
            turn.clear()
            if following is not None:
                following.cancel()
            following = group.create_task(pods()) if spec else None


async def _objects(
    client: AsyncClient,
    kind: Any,
    namespace: str,
    changed: Callable[[Objects], None],
    *,
    labels: Mapping[str, str] | None = None,
    fields: Mapping[str, str] | None = None,
) -> None:
    """Calls `changed` with all objects whenever one is another than before. Ends by raising what went wrong."""
    given: dict[str, Any] = {"namespace": namespace, "labels": labels, "fields": fields}
    while True:
        listed = client.list(kind, chunk_size=CHUNK, **given)
        objects = {one.metadata.name: one async for one in listed}
        changed(objects)
        watch = client.watch(kind, server_timeout=WATCH_SECONDS, resource_version=listed.resourceVersion, **given)
        try:
            async with aclosing(cast(AsyncGenerator[tuple[str, Any]], watch)) as events:
                while True:
                    async with asyncio.timeout(SILENT_SECONDS):
                        what, one = await anext(events)
                    if what == "DELETED":
                        objects.pop(one.metadata.name, None)
                    else:
                        objects[one.metadata.name] = one
                    changed(objects)
        except TimeoutError:
            continue
        except Exception as fault:
            if _status(fault) != GONE:
                raise


def endpoints(backend: str, source: Source, slices: Iterable[Any]) -> frozenset[Member]:
    """The endpoints of all slices of one Service. Raises NotThere where it does not say which port.

    A Service has a slice per address family, per set of ports and per hundred endpoints, and an endpoint may be in two
    of them while it moves: it is one worker. Unset, `ready` is true, `serving` is as `ready`, `terminating` is false.
    """
    found: dict[tuple[str, int], Member] = {}
    for one in slices:
        if one.addressType == FQDN:
            continue
        port = _port(source, one.ports or ())
        for endpoint in one.endpoints or ():
            if port is None or not endpoint.addresses:
                continue
            conditions, target = endpoint.conditions, endpoint.targetRef
            ready = conditions is None or conditions.ready is None or conditions.ready
            serving = ready if conditions is None or conditions.serving is None else conditions.serving
            ending = conditions is not None and bool(conditions.terminating)
            if not ready and not (serving and ending):
                continue
            pod = f"{target.namespace}/{target.name}" if target is not None and target.kind == "Pod" else None
            address = str(plain(endpoint.addresses[0]))
            key = (target.uid if target is not None and target.uid else address, port)
            found[key] = _merged(found.get(key), _member(backend, source, (address,), port, pod, ending or not ready))
    return frozenset(found.values())


def selected(backend: str, source: Source, ports: Iterable[int], pods: Iterable[Any]) -> frozenset[Member]:
    """The pods that a pool selects: each of the pool's ports is a worker. One that terminates takes nothing new."""
    found = []
    for pod in pods:
        status, meta = pod.status, pod.metadata
        conditions = {one.type: one.status for one in (status.conditions or ())} if status is not None else {}
        if status is None or conditions.get("Ready") != "True" or not status.podIP:
            continue
        addresses = tuple(str(plain(one.ip)) for one in status.podIPs or ()) or (str(plain(status.podIP)),)
        leaving = meta.deletionTimestamp is not None
        name = f"{meta.namespace}/{meta.name}"
        found += [_member(backend, source, addresses, port, name, leaving) for port in ports]
    return frozenset(found)


def _member(
    backend: str, source: Source, addresses: tuple[str, ...], port: int, pod: str | None, leaving: bool
) -> Member:
    how = "service" if source.service is not None else "pool"
    url = url_of(addresses[0], port, source.https)
    return Member(backend, how, url, addresses, port, pod=pod, leaving=leaving)  # type: ignore[arg-type]


def _merged(before: Member | None, new: Member) -> Member:
    """One worker in two slices: by its other address family, or on its way from one slice to another."""
    if before is None:
        return new
    addresses = tuple(sorted({*before.addresses, *new.addresses}, key=lambda each: (":" in each, each)))
    url = before.url if addresses[0] in before.addresses else new.url
    return Member(
        new.backend, new.source, url, addresses, new.port, pod=new.pod or before.pod,
        leaving=before.leaving and new.leaving,
    )  # fmt: skip


def _port(source: Source, ports: Iterable[Any]) -> int | None:
    """The port that the policy means, of one slice."""
    if isinstance(source.port, int):
        return source.port
    told = [one for one in ports if one.port is not None]
    if source.port is not None:
        return next((int(one.port) for one in told if one.name == source.port), None)
    if len({one.port for one in told}) > 1:
        raise NotThere("the Service has several ports: write `port` with the name of one, or its number")
    return int(told[0].port) if told else None


def _selected(spec: Mapping[str, Any]) -> tuple[dict[str, str], list[int]]:
    labels = (spec.get("selector") or {}).get("matchLabels") or {}
    ports = [int(one["number"]) for one in spec.get("targetPorts") or ()]
    if not labels or not ports:
        raise NotThere("the InferencePool has no selector, or no targetPorts (API inference.networking.k8s.io/v1)")
    return dict(labels), ports


def _status(fault: BaseException) -> int | None:
    """The HTTP status of a refusal by the API server, where it is one."""
    told = getattr(getattr(fault, "status", None), "code", None)
    return told if told is not None else getattr(getattr(fault, "response", None), "status_code", None)


def _told(fault: BaseException) -> str:
    """Without the address of the API server, which its own words repeat."""
    if isinstance(fault, BaseExceptionGroup):
        return _told(fault.exceptions[0])
    if isinstance(fault, NotThere):
        return str(fault)
    status = _status(fault)
    if status in FORBIDDEN:
        return f"the Kubernetes API refuses ({status}): give get, list and watch as docs/discovery.md shows"
    return f"the Kubernetes API cannot be asked: {type(fault).__name__ if status is None else f'it answers {status}'}"
