"""The GPUs of a worker, as backends.yaml says: its own, else those of its backend."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.model import Gpus
from gateway.policy.schema import LocalBackend
from gateway.policy.worker_schema import LocalUpstream, PatternIn, WorkerIn
from gateway.routing.priors import MEMORY_GB

FOUND = "workers that are found"
"""What the workers are called that `discover` finds."""


def hardware(backend: LocalBackend, worker: WorkerIn) -> Gpus:
    gpu, count = worker.gpu or backend.gpu, count_of(worker)
    if gpu is None:
        return Gpus(count=count)
    memory = MEMORY_GB.get(gpu.kind) if gpu.memory_gb is None else gpu.memory_gb
    return Gpus(gpu.kind, count, memory, gpu.usd_per_hour, overhead=gpu.overhead)


def count_of(worker: WorkerIn) -> int:
    named = worker.gpu_index or (worker.gpu_uuid if isinstance(worker, LocalUpstream) else ())
    return worker.gpus or len(named) or 1


def workers(backend: LocalBackend) -> Iterator[tuple[str, WorkerIn]]:
    """Each with its name, and one for all that are found."""
    yield from ((one.name, one) for one in backend.upstreams)
    if backend.discover:
        yield FOUND, backend.worker or PatternIn()
