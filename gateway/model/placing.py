"""Which of the GPUs that a node tells of belong to a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gateway.model.gpu import GpuSample, SeenGpu
from gateway.model.upstream import Upstream


def gpus_of(upstream: Upstream, seen: Iterable[SeenGpu]) -> tuple[GpuSample, ...]:
    """By the best that the policy says of it: the UUIDs of its GPUs, else its pod, else host name and index, else all.
    What it names and the node does not have is not made up for by something weaker."""
    mine = _test(upstream)
    return tuple(one.sample for one in seen if mine(one))


def _test(upstream: Upstream) -> Callable[[SeenGpu], bool]:
    if upstream.gpu_uuids:
        return lambda one: one.sample.uuid in upstream.gpu_uuids
    if upstream.pod is not None:
        return lambda one: one.pod == upstream.pod
    host, indices = upstream.hostname, upstream.gpus
    return lambda one: host in (None, one.host) and (indices is None or one.sample.index in indices)
