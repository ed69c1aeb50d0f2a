"""What models.yaml asks of workers, and versions beside each other. Yields faults, and warnings that stop nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gateway.model import Gpus, Modality, Need
from gateway.policy.hardware import hardware, workers
from gateway.policy.references import matching, unknown
from gateway.policy.schema import LocalBackend, ManagedBackend, ModelIn
from gateway.policy.source import Fault, Path
from gateway.policy.sources import Sources
from gateway.policy.validate import listed
from gateway.routing.capability import BY_ENGINE, BY_MODALITY
from gateway.routing.needs import in_gpus, in_need
from gateway.routing.priors import MEMORY_GB


class Worker(NamedTuple):
    name: str
    backend: str
    gpus: Gpus
    engine: str


def need_of(model: ModelIn) -> Need:
    return Need() if model.needs is None else Need(model.needs.memory_gb, model.needs.gpus)


def placement_faults(sources: Sources) -> Iterator[Fault]:
    """Models that no worker can hold, versions of two weights, and workers kept for models that nobody knows."""
    yield from _kept_for_nobody(sources)
    for index, model in sources.models.sound.items():
        yield from _weight_faults(sources, index, model)
        need, about = need_of(model), list(_workers(sources, model))
        if about and not any(need.fits(one.gpus) for one in about):
            kinds = "; ".join(dict.fromkeys(in_gpus(one.gpus) for one in about))
            known = ", ".join(f"{kind} {memory:g}" for kind, memory in MEMORY_GB.items())
            said = f"{in_need(need)}, and no worker that serves it has that: {kinds} (GB by kind: {known})"
            yield sources.models.document.fault(("models", index, "needs"), said, key=True)


def placement_warnings(sources: Sources) -> Iterator[Fault]:
    """Workers that never get a model of their backend, or no request at all; APIs that never get a custom one."""
    for index, model in sources.models.sound.items():
        path, need, about = ("models", index, "needs"), need_of(model), list(_workers(sources, model))
        small = [one for one in about if not need.fits(one.gpus)]
        if small:
            kinds = "; ".join(dict.fromkeys(in_gpus(one.gpus) for one in small))
            said = f"{in_need(need)}: it never goes to {listed(one.name for one in small)} ({kinds})"
            yield sources.models.document.fault(path, said, key=True)
        untold = [one for one in about if need.memory_gb is not None and one.gpus.memory_gb is None]
        if untold:
            said = f"memory of the GPUs of {listed(one.name for one in untold)} is not known; set `gpu.memory_gb` there"
            yield sources.models.document.fault(path, said, key=True)
        for j, served in enumerate(model.served_by):
            backend = sources.backend(served.backend)
            there = [one for one in about if one.backend == served.backend]
            why = _never_served(backend, there, model.modality) if isinstance(backend, LocalBackend) else None
            if why is not None:
                yield sources.models.document.fault(("models", index, "served_by", j, "backend"), why)
    yield from _custom_warnings(sources)


def _never_served(backend: LocalBackend, there: list[Worker], modality: Modality) -> str | None:
    """Why no request for a model comes to those of a backend that may have it."""
    if not there:
        return f"each worker of `{backend.name}` is kept for other models (`models` in backends.yaml)"
    engines = {one.engine for one in there}
    if backend.endpoints is None and not any(BY_ENGINE[engine] & BY_MODALITY[modality] for engine in engines):
        return f"no request goes to `{backend.name}`: {listed(engines)} speak no endpoint of {modality}"
    return None


def _workers(sources: Sources, model: ModelIn) -> Iterator[Worker]:
    """Of our own, those that the model may go to but for its needs."""
    for served in model.served_by:
        backend = sources.backend(served.backend)
        if isinstance(backend, LocalBackend):
            for name, worker in workers(backend):
                if matching(worker.models or None, (model.name,)):
                    yield Worker(name, served.backend, hardware(backend, worker), worker.engine)


def _weight_faults(sources: Sources, index: int, model: ModelIn) -> Iterator[Fault]:
    """A session keeps its version wherever it goes, so a version has one weight."""
    first: dict[str, tuple[float, str]] = {}
    for j, served in enumerate(model.served_by):
        for k, one in enumerate(served.versions or ()):
            weight, backend = first.setdefault(one.name, (one.weight, served.backend))
            if weight != one.weight:
                path: Path = ("models", index, "served_by", j, "versions", k, "weight")
                said = f"`{one.name}` has weight {weight:g} at `{backend}`; a version has one weight at all backends"
                yield sources.models.document.fault(path, said)


def _kept_for_nobody(sources: Sources) -> Iterator[Fault]:
    names = sources.models.names
    for index, backend in sources.backends.sound.items():
        if not isinstance(backend, LocalBackend) or names is None:
            continue
        places: list[tuple[Path, tuple[str, ...]]] = [
            (("backends", index, "upstreams", j, "models"), one.models) for j, one in enumerate(backend.upstreams)
        ]
        if backend.worker is not None:
            places.append((("backends", index, "worker", "models"), backend.worker.models))
        for path, globs in places:
            for k, glob in enumerate(globs):
                if not matching((glob,), names):
                    yield from unknown(sources.backends.document, (*path, k), "model", glob, names)


def _custom_warnings(sources: Sources) -> Iterator[Fault]:
    """Rules that name APIs and that requests for a custom model meet too."""
    bought = {one.name for one in sources.backends.sound.values() if isinstance(one, ManagedBackend)}
    custom = [model.name for model in sources.models.sound.values() if model.custom]
    for index, rule in sources.rules.sound.items():
        route = sources.route(rule)
        spill = route.spill.backends if route.spill is not None else ()
        named = bought.intersection((*(route.backends or ()), *spill, *route.fallback))
        about = matching(rule.match.model, custom)
        if named and about:
            said = f"{listed(about)} is custom and stays on our own machines: it never goes to {listed(named)}"
            yield sources.rules.document.fault(("rules", index, "name"), said)
