"""What a model needs of a worker's GPUs, and what a worker has, in words."""

from __future__ import annotations

from gateway.model import Gpus, Need


def in_need(need: Need) -> str:
    """`needs 140 GB on 1 GPU`."""
    gpus = f"{need.gpus} GPU{'s' if need.gpus > 1 else ''}"
    return f"needs {gpus}" if need.memory_gb is None else f"needs {need.memory_gb:g} GB on {gpus}"


def in_gpus(gpus: Gpus) -> str:
    """`2 x H100 with 80 GB each`."""
    kind = f"{gpus.count} x {gpus.kind or 'GPU'}"
    return kind if gpus.memory_gb is None else f"{kind} with {gpus.memory_gb:g} GB{' each' if gpus.count > 1 else ''}"
