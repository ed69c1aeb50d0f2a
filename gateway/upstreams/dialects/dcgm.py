"""How a node's DCGM exporter speaks of its GPUs: old and new label spellings, with and without Kubernetes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.model import ROW_REMAP_FAILURE, GpuSample, SeenGpu, throttles
from gateway.upstreams.dialects.engines.common import whole

LAG_SECONDS = 30.0
"""dcgm-exporter's default interval of collection: what is on its page may be that old."""
_ABSURD = 9e18
"""DCGM writes a value near 2**63 where a field is not supported; it means "not published"."""
_MS = 1000.0
_PERCENT = 100.0

_HOST = ("hostname", "Hostname")
"""Renamed in 2026."""
_UUID = ("UUID", "uuid")
_POD = ("exported_pod", "pod", "pod_name")
"""A page that went through Prometheus has the GPU's pod as `exported_pod`: its `pod` is the exporter's own then."""
_NAMESPACE = ("exported_namespace", "namespace", "pod_namespace")
_LABEL = re.compile(r'(?<!\w)(\w+)="((?:[^"\\]|\\.)*)"')
"""Tried at the first letter of a word only: tried at each, one long word takes the square of its length."""
_LONGEST_LABELS = 8 << 10
"""Of all labels of one line."""
_LONGEST_INSTANCE = 16
"""It is a small number."""

_VALUES = frozenset(
    {
        "DCGM_FI_PROF_SM_ACTIVE",
        "DCGM_FI_PROF_GR_ENGINE_ACTIVE",
        "DCGM_FI_PROF_DRAM_ACTIVE",
        "DCGM_FI_DEV_GPU_UTIL",
        "DCGM_FI_DEV_FB_USED",
        "DCGM_FI_DEV_FB_FREE",
        "DCGM_FI_DEV_FB_RESERVED",
        "DCGM_FI_DEV_POWER_USAGE",
        "DCGM_FI_DEV_GPU_TEMP",
        "DCGM_FI_DEV_XID_ERRORS",
        "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL",
        "DCGM_FI_DEV_ROW_REMAP_FAILURE",
        "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS",
        "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS",
        "DCGM_FI_DEV_CLOCKS_EVENT_REASONS",
    }
)
_XID_COUNT = "DCGM_EXP_XID_ERRORS_COUNT"
_WANTED = _VALUES | {_XID_COUNT}
_ERRORS = (
    "DCGM_FI_DEV_XID_ERRORS",
    "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL",
    "DCGM_FI_DEV_ROW_REMAP_FAILURE",
    "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS",
)
"""What befalls a GPU befalls all its MIG instances."""


class _Key(NamedTuple):
    host: str | None
    pod: str | None
    uuid: str | None
    number: int | None
    instance: str | None
    """Of a GPU that is cut into MIG instances."""


@dataclass(slots=True)
class _Told:
    values: dict[str, float] = field(default_factory=dict)
    xids: dict[int, int] = field(default_factory=dict)
    window: float | None = None
    counted: bool = False


def parse_gpus(page: str) -> tuple[SeenGpu, ...]:
    """Every GPU (or MIG instance) on the page with what was published for it. Only the lines that are wanted are read,
    and the labels of a GPU once: they are the same on each of its lines."""
    keys: dict[str, tuple[_Key | None, Mapping[str, str]]] = {}
    gpus: dict[_Key, _Told] = {}
    for name, text, value in _lines(page):
        if text not in keys:
            found: Mapping[str, str] = dict(_LABEL.findall(text))
            keys[text] = _key(found), found
        key, labels = keys[text]
        if key is None:
            continue
        told = gpus.setdefault(key, _Told())
        if name == _XID_COUNT:
            _count(told, labels, value)
        else:
            told.values[name] = value
    for key, told in gpus.items():
        whole_gpu = None if key.instance is None else gpus.get(key._replace(instance=None, pod=None))
        if whole_gpu is not None:
            _inherit(told, whole_gpu)
    return tuple(SeenGpu(key.host, key.pod, _sample(key, told)) for key, told in gpus.items() if told.values)


def _inherit(instance: _Told, whole_gpu: _Told) -> None:
    """An instance has the errors of its GPU, which may be told on lines of the whole GPU only; where both tell of one,
    the whole GPU's is the last."""
    for name in _ERRORS:
        if name in whole_gpu.values:
            instance.values[name] = whole_gpu.values[name] or instance.values.get(name, 0.0)
    if whole_gpu.counted:
        instance.counted = True
        instance.window = instance.window or whole_gpu.window
        for xid, count in whole_gpu.xids.items():
            instance.xids[xid] = max(count, instance.xids.get(xid, 0))


def _lines(page: str) -> Iterator[tuple[str, str, float]]:
    """(metric, labels as written, value) of the lines that are wanted; NaN, "not supported" and what is longer than any
    exporter's line are left out."""
    for line in page.splitlines():
        name, _, rest = line.partition("{")
        if name not in _WANTED:
            continue
        text, _, value = rest.rpartition("}")
        if len(text) > _LONGEST_LABELS:
            continue
        try:
            number = float(value.split()[0])
        except (ValueError, IndexError):
            continue
        if abs(number) < _ABSURD:  # false for NaN too
            yield name, text, number


def _key(labels: Mapping[str, str]) -> _Key | None:
    """None for a line that is about no GPU."""
    index, uuid = whole(labels.get("gpu")), _first(labels, _UUID)
    if index is None and uuid is None:
        return None
    pod, namespace = _first(labels, _POD), _first(labels, _NAMESPACE)
    return _Key(
        _first(labels, _HOST),
        f"{namespace}/{pod}" if pod and namespace else None,
        uuid,
        index,
        labels.get("GPU_I_ID", "")[:_LONGEST_INSTANCE] or None,
    )


def _first(labels: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((labels[name] for name in names if labels.get(name)), None)


def _count(told: _Told, labels: Mapping[str, str], value: float) -> None:
    """One XID's count in the exporter's window. A GPU without any has one line without an XID, of value 0."""
    told.counted = True
    window, xid = whole(labels.get("window_size_in_ms")), whole(labels.get("xid"))
    if window is not None:
        told.window = window / _MS
    if xid is not None and value > 0:
        told.xids[xid] = int(value)


def _sample(key: _Key, told: _Told) -> GpuSample:
    value = told.values.get
    reasons = value("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", value("DCGM_FI_DEV_CLOCK_THROTTLE_REASONS", 0.0))
    return GpuSample(
        uuid=key.uuid,
        index=key.number,
        instance=key.instance,
        sm=_share(value("DCGM_FI_PROF_SM_ACTIVE")),
        dram=_share(value("DCGM_FI_PROF_DRAM_ACTIVE")),
        util=_duty(told.values),
        memory_used=_positive(value("DCGM_FI_DEV_FB_USED")),
        memory_total=_total(told.values),
        power=_positive(value("DCGM_FI_DEV_POWER_USAGE")),
        temperature=value("DCGM_FI_DEV_GPU_TEMP"),
        xid=_whole(value("DCGM_FI_DEV_XID_ERRORS")),
        xids=tuple(sorted(told.xids.items())) if told.counted else None,
        window=told.window,
        ecc=_whole(value("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL")),
        remapped=_whole(value("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS")),
        fault=ROW_REMAP_FAILURE if value("DCGM_FI_DEV_ROW_REMAP_FAILURE", 0.0) else None,
        throttle=throttles(int(reasons)),
    )


def _duty(values: Mapping[str, float]) -> float | None:
    engine, duty = values.get("DCGM_FI_PROF_GR_ENGINE_ACTIVE"), values.get("DCGM_FI_DEV_GPU_UTIL")
    return _share(engine if engine is not None or duty is None else duty / _PERCENT)


def _total(values: Mapping[str, float]) -> float | None:
    """MiB. What the driver keeps for itself is a part of it where it is told."""
    used, free = values.get("DCGM_FI_DEV_FB_USED"), values.get("DCGM_FI_DEV_FB_FREE")
    return None if used is None or free is None else used + free + values.get("DCGM_FI_DEV_FB_RESERVED", 0.0)


def _share(value: float | None) -> float | None:
    """A negative one is no measurement; a little more than all is rounding."""
    return None if value is None or value < 0 else min(1.0, value)


def _positive(value: float | None) -> float | None:
    return None if value is None or value < 0 else value


def _whole(value: float | None) -> int | None:
    return None if value is None or value < 0 else int(value)
