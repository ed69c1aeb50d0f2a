"""GPUs: what a worker has, and what one of them said."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from gateway.model.money import STATED, Origin

ROW_REMAP_FAILURE, LOST, NEEDS_RESET = "row remap failure", "lost", "needs a reset"
STANDING_FAULTS = frozenset({ROW_REMAP_FAILURE, LOST, NEEDS_RESET})
"""What `GpuSample.fault` may be."""


@dataclass(frozen=True, slots=True)
class Gpus:
    """The GPUs of one worker, all alike. None: the policy does not say."""

    kind: str | None = None
    """As written in the policy, such as H100."""
    count: int = 1
    memory_gb: float | None = None
    """Of one of them, in 10^9 bytes as vendors count them: 80 of an H100, 141 of an H200."""
    usd_per_hour: float | None = None
    """Of one of them, before `overhead`."""
    priced: Origin = STATED
    """Where `usd_per_hour` is from."""
    overhead: float = 1.0
    """What one costs beside that, as a factor."""

    @property
    def worker_usd_per_hour(self) -> float | None:
        """Of the whole worker, overhead included: 2.3 three times is 6.9, as it is written."""
        if self.usd_per_hour is None:
            return None
        return float(Decimal(str(self.usd_per_hour)) * self.count * Decimal(str(self.overhead)))


@dataclass(frozen=True, slots=True)
class GpuSample:
    """One GPU at one instant; None was not published. Memory in MiB, power in W, temperature in degrees C."""

    uuid: str | None = None
    index: int | None = None
    """On its host, as the driver counts."""
    instance: str | None = None
    """Of a GPU that is cut into MIG instances, which one; `uuid` and `index` are the whole GPU's."""
    sm: float | None = None
    """Share of time with a warp on an SM, averaged over SMs (`DCGM_FI_PROF_SM_ACTIVE`), 0..1."""
    dram: float | None = None
    """Share of cycles in which its memory moved data (`DCGM_FI_PROF_DRAM_ACTIVE`), 0..1."""
    util: float | None = None
    """The duty cycle of its engines (`DCGM_FI_PROF_GR_ENGINE_ACTIVE`, else `DCGM_FI_DEV_GPU_UTIL`), 0..1: near 1 as
    soon as any kernel runs."""
    memory_used: float | None = None
    memory_total: float | None = None
    power: float | None = None
    temperature: float | None = None
    xid: int | None = None
    """The last XID error, whenever it was; 0 and None: none."""
    xids: tuple[tuple[int, int], ...] | None = None
    """(XID, how often), of the last `window` seconds or since its teller began; None: not counted."""
    window: float | None = None
    ecc: int | None = None
    """Uncorrectable memory errors since the driver was loaded."""
    remapped: int | None = None
    """Rows of its memory that were replaced after an uncorrectable error: it goes on with spare ones."""
    fault: str | None = None
    """Why it is not fit for work as long as it says so, one of STANDING_FAULTS; None: nothing says so."""
    throttle: tuple[str, ...] = ()
    """Why its clocks are held down: `power`, `thermal`, `hardware`. Slower, not broken."""
    pids: tuple[int, ...] = ()
    """Processes that compute on it, where they were told."""

    @property
    def use(self) -> float | None:
        """How busy it is, by the best signal that it has: SM activity, else the duty cycle."""
        return next((value for value in (self.sm, self.util) if value is not None), None)

    @property
    def card(self) -> str:
        """What the whole GPU is called."""
        return self.uuid or f"gpu {self.index}"

    @property
    def name(self) -> str:
        """What it is called in reasons and logs, and told apart by."""
        return self.card if self.instance is None else f"{self.card}/{self.instance}"


class SeenGpu(NamedTuple):
    """A GPU as its node tells of it: `pod` is `namespace/name` of the pod that has it."""

    host: str | None
    pod: str | None
    sample: GpuSample


class GpuLook(NamedTuple):
    """The GPUs of one worker, read `age` seconds ago. What befalls one of them shows at most `lag` seconds later."""

    gpus: tuple[GpuSample, ...]
    age: float
    lag: float

    @property
    def use(self) -> float | None:
        """Mean of its GPUs, each by its best signal; None where none has one."""
        uses = [gpu.use for gpu in self.gpus if gpu.use is not None]
        return sum(uses) / len(uses) if uses else None


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


def throttles(reasons: int) -> tuple[str, ...]:
    """Names of the reasons in a mask of NVML's clock event reasons that mean slower than asked for."""
    return tuple(name for name, bits in _THROTTLES if reasons & bits)


_THROTTLES: tuple[tuple[str, int], ...] = (("power", 0x4 | 0x80), ("thermal", 0x20 | 0x40), ("hardware", 0x8))
"""nvmlClocksEventReason*: software power cap and power brake; software and hardware thermal slowdown; hardware slowdown
as such, which comes beside the brake and the heat or alone."""
THROTTLES = frozenset(name for name, _ in _THROTTLES)
UNKNOWN_GPUS = Gpus()
NO_NEED = Need()
