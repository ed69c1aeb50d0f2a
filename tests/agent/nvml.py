"""A stand-in for the driver behind `pynvml`: its own structures, constants and errors, our answers."""

from __future__ import annotations

import ctypes
import queue
from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pynvml


def _address(sample: Any) -> int | None:
    return ctypes.cast(sample, ctypes.c_void_p).value


def failing(code: int) -> pynvml.NVMLError:
    return pynvml.NVMLError(code)


@dataclass
class Card:
    """One GPU. A name in `missing` is a call that it does not support."""

    uuid: str
    gpm: bool = True
    sm: float = 50.0
    dram: float = 25.0
    rows: tuple[int, int, int, int] = (0, 2, 0, 0)
    recovery: int = pynvml.NVML_GPU_RECOVERY_ACTION_NONE
    reasons: int = pynvml.nvmlClocksEventReasonSwPowerCap
    ecc: int = 0
    missing: set[str] = field(default_factory=set)
    code: int = pynvml.NVML_SUCCESS
    """What every call fails with, if not success."""


class Driver:
    """The module `pynvml` as far as the agent uses it; a function without an answer here is not in this driver."""

    def __init__(self, *cards: Card) -> None:
        self.cards, self.events = cards, queue.SimpleQueue[tuple[Card, int] | None]()
        self.can_watch = True
        self.open = False
        self.allocated, self.reads = 0, Counter[str]()
        self.taken: dict[int | None, tuple[str, int]] = {}
        """Sample -> whose it is, and the how manieth of that card."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("nvml") and callable(getattr(pynvml, name, None)):
            answer = getattr(type(self), f"on_{name}", None)
            if answer is None:
                raise failing(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
            return lambda *args: self._call(name, *args)
        return getattr(pynvml, name)

    def _call(self, name: str, *args: Any) -> Any:
        card = args[0] if args and isinstance(args[0], Card) else None
        if card is not None and card.code != pynvml.NVML_SUCCESS:
            raise failing(card.code)
        if card is not None and name in card.missing:
            raise failing(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return getattr(self, f"on_{name}")(*args)

    def on_nvmlInit(self) -> None:
        self.open = True

    def on_nvmlShutdown(self) -> None:
        self.open = False

    def on_nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def on_nvmlDeviceGetHandleByIndex(self, index: int) -> Card:
        return self.cards[index]

    def on_nvmlDeviceGetUUID(self, card: Card) -> str:
        return card.uuid

    def on_nvmlDeviceGetUtilizationRates(self, _: Card) -> Any:
        return pynvml.c_nvmlUtilization_t(gpu=97, memory=40)

    def on_nvmlDeviceGetMemoryInfo(self, _: Card) -> Any:
        return pynvml.c_nvmlMemory_t(total=80 << 30, free=10 << 30, used=70 << 30)

    def on_nvmlDeviceGetPowerUsage(self, _: Card) -> int:
        return 612_500

    def on_nvmlDeviceGetTemperature(self, _: Card, sensor: int) -> int:
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        return 64

    def on_nvmlDeviceGetCurrentClocksThrottleReasons(self, card: Card) -> int:
        return card.reasons

    def on_nvmlDeviceGetTotalEccErrors(self, card: Card, kind: int, counter: int) -> int:
        assert (kind, counter) == (pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC)
        return card.ecc

    def on_nvmlDeviceGetRemappedRows(self, card: Card) -> tuple[int, int, int, int]:
        return card.rows

    def on_nvmlDeviceGetFieldValues(self, card: Card, fields: list[int]) -> Any:
        assert fields == [pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION]
        values = (pynvml.c_nvmlFieldValue_t * 1)()
        values[0].nvmlReturn = pynvml.NVML_SUCCESS
        values[0].value.uiVal = card.recovery
        return values

    def on_nvmlDeviceGetComputeRunningProcesses(self, _: Card) -> list[Any]:
        return [SimpleNamespace(pid=4711, usedGpuMemory=70 << 30)]

    def on_nvmlGpmQueryDeviceSupport(self, card: Card) -> Any:
        return SimpleNamespace(isSupportedDevice=int(card.gpm))

    def on_nvmlGpmSampleAlloc(self) -> Any:
        self.allocated += 1
        return ctypes.cast(self.allocated, pynvml.c_nvmlGpmSample_t)

    def on_nvmlGpmSampleGet(self, card: Card, sample: Any) -> Any:
        self.reads[card.uuid] += 1
        self.taken[_address(sample)] = card.uuid, self.reads[card.uuid]
        return sample

    def on_nvmlGpmMetricsGet(self, asked: Any) -> Any:
        assert (asked.version, asked.numMetrics) == (pynvml.NVML_GPM_METRICS_GET_VERSION, 2)
        (one, older), (same, newer) = (self.taken[_address(sample)] for sample in (asked.sample1, asked.sample2))
        assert one == same
        assert (older, newer) == (self.reads[one] - 1, self.reads[one]), "from the sample before to the last one"
        told = {
            pynvml.NVML_GPM_METRIC_SM_UTIL: self.cards[0].sm,
            pynvml.NVML_GPM_METRIC_DRAM_BW_UTIL: self.cards[0].dram,
        }
        for metric in asked.metrics[: asked.numMetrics]:
            metric.nvmlReturn, metric.value = pynvml.NVML_SUCCESS, told[metric.metricId]
        return asked

    def on_nvmlEventSetCreate(self) -> Any:
        if not self.can_watch:
            raise failing(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return pynvml.c_nvmlEventSet_t()

    def on_nvmlDeviceRegisterEvents(self, _: Card, kinds: int, __: Any) -> None:
        assert kinds == pynvml.nvmlEventTypeXidCriticalError

    def on_nvmlEventSetWait(self, _: Any, milliseconds: int) -> Any:
        """A hundredth of the time that a driver would take: nothing waits for it but the end of the test."""
        try:
            event = self.events.get(timeout=milliseconds / 100_000)
        except queue.Empty:
            event = None
        if event is None:
            raise failing(pynvml.NVML_ERROR_TIMEOUT)
        card, xid = event
        return SimpleNamespace(device=card, eventType=pynvml.nvmlEventTypeXidCriticalError, eventData=xid)

    def on_nvmlEventSetFree(self, _: Any) -> None: ...
