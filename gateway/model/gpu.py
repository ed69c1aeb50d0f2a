"""GPUs: what a worker has, and what one of them said."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gpus:
    """The GPUs of one worker, all alike. None: the policy does not say."""

    kind: str | None = None
    """As written in the policy, such as H100."""
    count: int = 1
    memory_gb: float | None = None
    """Of one of them, in 10^9 bytes as vendors count them: 80 of an H100, 141 of an H200."""
    usd_per_hour: float | None = None
    """Of one of them."""


@dataclass(frozen=True, slots=True)
class GpuSample:
    """One GPU at one instant; None was not published. Memory in MiB, power in W, temperature in degrees C."""

    uuid: str | None = None
    index: int | None = None
    """On its host, as the driver counts."""
    sm: float | None = None
    """Share of time with a warp on an SM, averaged over SMs (`DCGM_FI_PROF_SM_ACTIVE`), 0..1."""
    dram: float | None = None
    """Share of cycles in which its memory moved data (`DCGM_FI_PROF_DRAM_ACTIVE`), 0..1."""
    util: float | None = None
    """The duty cycle (`DCGM_FI_DEV_GPU_UTIL`), 0..1: near 1 as soon as any kernel runs."""
    memory_used: float | None = None
    memory_total: float | None = None
    power: float | None = None
    temperature: float | None = None
    xid: int | None = None
    """The last XID error; 0 and None: none."""
    fault: str | None = None
    """Why it is not fit for work, such as `xid 79` or `row remap failure`; None: nothing says so."""

    @property
    def use(self) -> float | None:
        """How busy it is, by the best signal that it has."""
        return next((value for value in (self.sm, self.util) if value is not None), None)


@dataclass(frozen=True, slots=True)
class Need:
    """What a model needs of a worker: memory of all its GPUs together, in 10^9 bytes, and how many of them share it."""

    memory_gb: float | None = None
    gpus: int = 1
    """Tensor-parallel degree: each GPU holds `memory_gb / gpus`."""

    @property
    def each(self) -> float | None:
        """Memory that each of them must have."""
        return None if self.memory_gb is None else self.memory_gb / self.gpus

    def fits(self, gpus: Gpus) -> bool:
        """Whether a worker with these GPUs can hold it; a memory that nobody told is no obstacle."""
        if gpus.count < self.gpus:
            return False
        return self.each is None or gpus.memory_gb is None or self.each <= gpus.memory_gb


UNKNOWN_GPUS = Gpus()
NO_NEED = Need()
