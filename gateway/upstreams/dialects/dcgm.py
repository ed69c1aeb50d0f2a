"""How a node's DCGM exporter speaks of its GPUs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from gateway.upstreams.exposition import samples

_SIGNALS: tuple[tuple[str, float], ...] = (
    ("DCGM_FI_PROF_SM_ACTIVE", 1.0),
    ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", 1.0),
    ("DCGM_FI_DEV_GPU_UTIL", 100.0),
)
"""Best first, with the value that means fully busy. GPU_UTIL is a duty cycle: near 97 % as soon as any kernel runs."""
_NAMES = frozenset(name for name, _ in _SIGNALS)

GpuUse = Mapping[tuple[str, int], float]
"""(host name, GPU index) -> utilisation 0..1."""


def parse_gpus(page: bytes) -> GpuUse:
    """Utilisation of every GPU on the page, each by the best signal published for it."""
    seen: dict[tuple[str, int], dict[str, float]] = defaultdict(dict)
    for sample in samples(page, _NAMES):
        host = sample.labels.get("hostname") or sample.labels.get("Hostname") or ""
        index = sample.labels.get("gpu", "")
        if index.isdigit():
            seen[host, int(index)][sample.name] = sample.value
    return {
        gpu: next(min(1.0, values[name] / full) for name, full in _SIGNALS if name in values)
        for gpu, values in seen.items()
    }


def utilisation(page: GpuUse, hostname: str | None, gpus: tuple[int, ...] | None) -> float | None:
    """Mean use of a worker's GPUs; all GPUs of the page where no index is given,
    None where the page has none of them."""
    values = [
        use
        for (host, index), use in page.items()
        if (hostname is None or host == hostname) and (gpus is None or index in gpus)
    ]
    return sum(values) / len(values) if values else None
