"""A DCGM exporter's page for one node: one GPU per worker, readings that follow the worker's (lagged) load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .config import DcgmConfig
from .faults import GpuFault
from .metrics import Load

KINDS = {"H100": ("NVIDIA H100 80GB HBM3", 81_559), "H200": ("NVIDIA H200", 143_771)}
"""GPU -> how the driver calls it, and its frame buffer in MiB."""
FB_SERVING_SHARE = 0.92
"""vLLM takes its memory at start, whatever the load."""
DUTY_CYCLE_BUSY = 97
"""GPU_UTIL says that *some* kernel ran: near 97 % from the first request on."""
IDLE_W, FULL_W = 71.0, 640.0
IDLE_C, FULL_C = 31, 67
DRIVER = "570.86.15"

_SERIES: tuple[tuple[str, str, str], ...] = (
    ("DCGM_FI_DEV_GPU_UTIL", "gauge", "GPU utilization (in %)."),
    ("DCGM_FI_PROF_SM_ACTIVE", "gauge", "The ratio of cycles an SM has at least 1 warp assigned."),
    ("DCGM_FI_PROF_DRAM_ACTIVE", "gauge", "Ratio of cycles the device memory interface is active."),
    ("DCGM_FI_DEV_FB_FREE", "gauge", "Framebuffer memory free (in MiB)."),
    ("DCGM_FI_DEV_FB_USED", "gauge", "Framebuffer memory used (in MiB)."),
    ("DCGM_FI_DEV_POWER_USAGE", "gauge", "Power draw (in W)."),
    ("DCGM_FI_DEV_GPU_TEMP", "gauge", "GPU temperature (in C)."),
    ("DCGM_FI_DEV_XID_ERRORS", "gauge", "Value of the last XID error encountered."),
    ("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", "counter", "Total number of double-bit volatile ECC errors."),
    ("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", "counter", "Number of remapped rows for uncorrectable errors"),
    ("DCGM_FI_DEV_ROW_REMAP_FAILURE", "gauge", "Whether remapping of rows has failed"),
    ("DCGM_FI_DEV_CLOCK_THROTTLE_REASONS", "gauge", "Current clock throttle reasons (bitmask)."),
)
_OLDEST = {"UUID": "uuid", "pod": "pod_name", "namespace": "pod_namespace", "container": "container_name"}
_SOUND = GpuFault()


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One GPU: the load of its worker (None: no process on it), its batch limit, the last XID error (0: none)."""

    index: int
    load: Load | None
    max_num_seqs: int
    xid: int = 0
    uuid: str = "GPU-00000000-0000-4000-8000-000000000000"
    pod: str = ""
    namespace: str = "default"
    fault: GpuFault | None = None
    kind: str = "H100"


def render(hostname: str, gpus: Sequence[GpuReading], spelled: DcgmConfig = DcgmConfig()) -> bytes:  # noqa: B008
    """The exporter's text page."""
    rows = [(_labels(hostname, gpu, spelled), _values(gpu)) for gpu in gpus]
    lines: list[str] = []
    for name, kind, text in _SERIES:
        shown = [f"{name}{{{labels}}} {values[name]}" for labels, values in rows if name in values]
        if shown and name not in spelled.without:
            lines += (f"# HELP {name} {text}", f"# TYPE {name} {kind}", *shown)
    return ("\n".join(lines) + "\n").encode()


def _labels(hostname: str, gpu: GpuReading, spelled: DcgmConfig) -> str:
    labels = {
        "gpu": str(gpu.index),
        "UUID": gpu.uuid,
        "pci_bus_id": f"00000000:{0x18 + gpu.index:02X}:00.0",
        "device": f"nvidia{gpu.index}",
        "modelName": KINDS[gpu.kind][0],
        "hostname" if spelled.labels == "now" else "Hostname": hostname,
        "DCGM_FI_DRIVER_VERSION": DRIVER,
    }
    if spelled.kubernetes and gpu.pod:
        labels |= {"container": "engine", "namespace": gpu.namespace, "pod": gpu.pod}
    names = _OLDEST if spelled.labels == "oldest" else {}
    return ",".join(f'{names.get(name, name)}="{value}"' for name, value in labels.items())


def _values(gpu: GpuReading) -> dict[str, str]:
    fault = gpu.fault or _SOUND
    values = _load_values(gpu) | {
        "DCGM_FI_DEV_XID_ERRORS": str(gpu.xid),
        "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL": str(fault.ecc),
        "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS": str(min(fault.ecc, 8)),
        "DCGM_FI_DEV_ROW_REMAP_FAILURE": str(int(fault.row_remap_failure)),
        "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS": str(fault.throttle),
    }
    if fault.temperature is not None:
        values["DCGM_FI_DEV_GPU_TEMP"] = str(fault.temperature)
    return {name: value for name, value in values.items() if name not in fault.without}


def _load_values(gpu: GpuReading) -> dict[str, str]:
    running = gpu.load.running if gpu.load else 0
    fullness = min(1.0, running / gpu.max_num_seqs)
    total = KINDS[gpu.kind][1]
    used = int(total * FB_SERVING_SHARE) if gpu.load else 0
    return {
        "DCGM_FI_DEV_GPU_UTIL": str(DUTY_CYCLE_BUSY if running else 0),
        "DCGM_FI_PROF_SM_ACTIVE": f"{0.12 + 0.76 * fullness if running else 0.0:.6f}",
        "DCGM_FI_PROF_DRAM_ACTIVE": f"{0.25 + 0.45 * fullness if running else 0.0:.6f}",
        "DCGM_FI_DEV_FB_FREE": str(total - used),
        "DCGM_FI_DEV_FB_USED": str(used),
        "DCGM_FI_DEV_POWER_USAGE": f"{IDLE_W + (FULL_W - IDLE_W) * (0.4 + 0.6 * fullness if running else 0.0):.3f}",
        "DCGM_FI_DEV_GPU_TEMP": str(round(IDLE_C + (FULL_C - IDLE_C) * fullness)),
    }
