"""Reads GPUs through NVML, NVIDIA's management library. Every call is allowed to be missing: an old driver, a consumer
card or a container without rights gives less, never a wrong value."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gateway.errors import StartupFault
from gateway.model import LOST, NEEDS_RESET, ROW_REMAP_FAILURE, GpuSample, throttles

_MIB = 1 << 20
_PERCENT, _MILLI = 100.0, 1000.0
_EVENT_WAIT_MS = 1000
_FIELD_RECOVERY = "NVML_FI_DEV_GET_GPU_RECOVERY_ACTION"
_UNFIT = ("GPU_RESET", "NODE_REBOOT", "DRAIN_P2P", "BUS_RESET", "SYSTEM_REBOOT")
"""Recovery actions after which nothing runs until they were taken. DRAIN_AND_RESET is not among them: the GPU works on
with less, and is to be reset when there is time."""


class _Broken(Exception):
    """Every call to the GPU fails; the message is the fault to tell."""


@dataclass(slots=True)
class _Device:
    index: int
    uuid: str
    handle: Any
    gpm: tuple[Any, Any] | None = None
    """Two samples of performance counters: the older one, and room for the next."""


class NvmlReader:
    """`nvml` is the module `pynvml`. Raises StartupFault where there is no driver or no GPU."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        try:
            nvml.nvmlInit()
            self._devices = [self._device(index) for index in range(nvml.nvmlDeviceGetCount())]
        except nvml.NVMLError as fault:
            raise StartupFault(f"NVML cannot be used here ({fault}); is the NVIDIA driver installed?") from None
        if not self._devices:
            raise StartupFault("NVML sees no GPU on this machine; there is nothing to tell of")
        self._xids = XidWatch(nvml, [(one.uuid, one.handle) for one in self._devices])

    def read(self) -> tuple[GpuSample, ...]:
        """Every GPU of the machine now. Raises StartupFault where the driver was unloaded."""
        return tuple(map(self._sample, self._devices))

    def close(self) -> None:
        self._xids.close()
        with suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()

    def _device(self, index: int) -> _Device:
        nvml = self._nvml
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        return _Device(index, _text(nvml.nvmlDeviceGetUUID(handle)), handle, self._gpm_of(handle))

    def _gpm_of(self, handle: Any) -> tuple[Any, Any] | None:
        """Hopper and newer have performance counters that need no profiler."""
        nvml = self._nvml
        try:
            if not nvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice:
                return None
            older, newer = nvml.nvmlGpmSampleAlloc(), nvml.nvmlGpmSampleAlloc()
            nvml.nvmlGpmSampleGet(handle, older)
        except (nvml.NVMLError, AttributeError):
            return None
        return older, newer

    def _sample(self, device: _Device) -> GpuSample:
        last, counts = self._xids.of(device.uuid)
        try:
            return self._told(device, last, counts)
        except _Broken as broken:
            return GpuSample(uuid=device.uuid, index=device.index, xid=last, xids=counts, fault=str(broken))

    def _told(self, device: _Device, last: int, counts: tuple[tuple[int, int], ...] | None) -> GpuSample:
        nvml, ask, handle = self._nvml, self._ask, device.handle
        rates, memory = ask("nvmlDeviceGetUtilizationRates", handle), ask("nvmlDeviceGetMemoryInfo", handle)
        power = ask("nvmlDeviceGetPowerUsage", handle)
        reasons = ask("nvmlDeviceGetCurrentClocksEventReasons", handle)
        if reasons is None:  # its name until driver 535
            reasons = ask("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
        rows = ask("nvmlDeviceGetRemappedRows", handle)
        sm, dram = self._gpm(device)
        return GpuSample(
            uuid=device.uuid,
            index=device.index,
            sm=sm,
            dram=dram,
            util=None if rates is None else rates.gpu / _PERCENT,
            memory_used=None if memory is None else memory.used / _MIB,
            memory_total=None if memory is None else memory.total / _MIB,
            power=None if power is None else power / _MILLI,
            temperature=ask("nvmlDeviceGetTemperature", handle, nvml.NVML_TEMPERATURE_GPU),
            xid=last,
            xids=counts,
            ecc=ask(
                "nvmlDeviceGetTotalEccErrors", handle, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC
            ),
            remapped=None if rows is None else rows[1],
            fault=self._fault(handle, rows),
            throttle=throttles(reasons or 0),
            pids=tuple(process.pid for process in ask("nvmlDeviceGetComputeRunningProcesses", handle) or ()),
        )

    def _fault(self, handle: Any, rows: tuple[int, int, int, int] | None) -> str | None:
        """`rows` as NVML gives them: corrected, uncorrectable, whether some wait for a reset, whether one failed."""
        if rows is not None and rows[3]:
            return ROW_REMAP_FAILURE
        nvml, field = self._nvml, getattr(self._nvml, _FIELD_RECOVERY, None)
        values = None if field is None else self._ask("nvmlDeviceGetFieldValues", handle, [field])
        if values is None or values[0].nvmlReturn != nvml.NVML_SUCCESS:
            return None
        unfit = {getattr(nvml, f"NVML_GPU_RECOVERY_ACTION_{name}", None) for name in _UNFIT}
        return NEEDS_RESET if values[0].value.uiVal in unfit else None

    def _gpm(self, device: _Device) -> tuple[float | None, float | None]:
        """(SM activity, memory activity) 0..1 since the last read."""
        nvml = self._nvml
        if device.gpm is None:
            return None, None
        older, newer = device.gpm
        ids = (nvml.NVML_GPM_METRIC_SM_UTIL, nvml.NVML_GPM_METRIC_DRAM_BW_UTIL)
        try:
            nvml.nvmlGpmSampleGet(device.handle, newer)
            asked = nvml.c_nvmlGpmMetricsGet_t()
            asked.version, asked.numMetrics = nvml.NVML_GPM_METRICS_GET_VERSION, len(ids)
            asked.sample1, asked.sample2 = older, newer
            for place, metric in enumerate(ids):
                asked.metrics[place].metricId = metric
            told = nvml.nvmlGpmMetricsGet(asked).metrics
        except nvml.NVMLError:
            return None, None
        device.gpm = newer, older
        sm, dram = (self._share(told[place]) for place in range(len(ids)))
        return sm, dram

    def _share(self, metric: Any) -> float | None:
        good = metric.nvmlReturn == self._nvml.NVML_SUCCESS and 0 <= metric.value <= _PERCENT  # false for NaN
        return metric.value / _PERCENT if good else None

    def _ask(self, call: str, *args: Any) -> Any:
        """What NVML answers; None where it has no answer. Raises _Broken, or StartupFault where the driver is gone."""
        nvml = self._nvml
        try:
            return getattr(nvml, call)(*args)
        except nvml.NVMLError as fault:
            if fault.value == nvml.NVML_ERROR_GPU_IS_LOST:
                raise _Broken(LOST) from None
            if fault.value == nvml.NVML_ERROR_RESET_REQUIRED:
                raise _Broken(NEEDS_RESET) from None
            if fault.value in (nvml.NVML_ERROR_UNINITIALIZED, nvml.NVML_ERROR_DRIVER_NOT_LOADED):
                raise StartupFault("the NVIDIA driver was unloaded under the agent; start it anew") from None
            return None
        except AttributeError:
            return None


class XidWatch:
    """Waits in a thread for the XIDs of all GPUs: NVML tells of one as it happens, and keeps none."""

    def __init__(self, nvml: Any, devices: list[tuple[str, Any]]) -> None:
        self._nvml, self._closing = nvml, threading.Event()
        self._last: dict[str, int] = {}
        self._counts: dict[str, Counter[int]] = {uuid: Counter() for uuid, _ in devices}
        self._thread: threading.Thread | None = None
        try:
            events = nvml.nvmlEventSetCreate()
            for _, handle in devices:
                nvml.nvmlDeviceRegisterEvents(handle, nvml.nvmlEventTypeXidCriticalError, events)
        except nvml.NVMLError:
            return
        self._thread = threading.Thread(target=self._run, args=(events,), name="xids", daemon=True)
        self._thread.start()

    def of(self, uuid: str) -> tuple[int, tuple[tuple[int, int], ...] | None]:
        """(its last XID or 0, how often each came since this began); None where they cannot be watched."""
        counts = None if self._thread is None else tuple(sorted(self._counts[uuid].items()))
        return self._last.get(uuid, 0), counts

    def close(self) -> None:
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, events: Any) -> None:
        nvml = self._nvml
        while not self._closing.is_set():
            try:
                event = nvml.nvmlEventSetWait(events, _EVENT_WAIT_MS)
            except nvml.NVMLError as fault:
                if fault.value != nvml.NVML_ERROR_TIMEOUT:
                    self._closing.wait(_EVENT_WAIT_MS / _MILLI)
                continue
            if event.eventType == nvml.nvmlEventTypeXidCriticalError:
                self._note(event)
        nvml.nvmlEventSetFree(events)

    def _note(self, event: Any) -> None:
        """One that cannot say who it is any more is told as lost by its next read."""
        with suppress(self._nvml.NVMLError):
            name, xid = _text(self._nvml.nvmlDeviceGetUUID(event.device)), int(event.eventData)
            if name in self._counts:
                self._counts[name] = self._counts[name] + Counter({xid: 1})  # replaced whole: others read it
                self._last[name] = xid


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
