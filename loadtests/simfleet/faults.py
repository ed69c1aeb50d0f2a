"""Faults that can be set at run time: the body of POST /sim/config."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import msgspec
from msgspec import UNSET, UnsetType

ACCOUNT_FAULTS = ("none", "invalid_key", "payment_required", "insufficient_quota")
DEFAULT_DROP_AFTER = 5


class Drop(msgspec.Struct, forbid_unknown_fields=True):
    """Cut `share` of the answers off after so many frames."""

    share: float = 1.0
    after_frames: int = DEFAULT_DROP_AFTER


class Stall(msgspec.Struct, forbid_unknown_fields=True):
    """From so many frames on, `share` of the streams get one byte every `every_s` seconds; 0: nothing any more."""

    share: float = 1.0
    after_frames: int = DEFAULT_DROP_AFTER
    every_s: float = 1.0


SHOWS = ("page", "html", "redirect", "big", "empty", "negative", "nan", "absurd", "error")


USAGES = ("true", "none", "negative", "huge", "text", "null")


class MetricsFault(msgspec.Struct, forbid_unknown_fields=True):
    """What is wrong with a worker's metrics page. Several may hold at once."""

    show: str = "page"
    """page (the true one), html, redirect, big (10 MB before the page), empty, negative, nan, absurd (every gauge is
    so), error (500)."""
    location: str = "/elsewhere"
    """Where `redirect` points."""
    rename: dict[str, str] = {}
    """Metric names, or beginnings of names, and what they become."""
    remove: list[str] = []
    """Metric names, or beginnings of names, that are not on the page."""
    page_of: str | None = None
    """The page of another worker."""
    lag_s: float | None = None
    """Age of the load gauges, in place of the configured one."""
    delay_s: float = 0.0
    """How long the page takes."""


class GpuFault(msgspec.Struct, forbid_unknown_fields=True):
    """What is wrong with a worker's GPUs, besides their last XID error."""

    ecc: int = 0
    """Uncorrectable ECC errors since the driver was loaded."""
    row_remap_failure: bool = False
    throttle: int = 0
    """Bit mask of DCGM_FI_DEV_CLOCK_THROTTLE_REASONS; 8: hardware slowdown, 64: hardware thermal slowdown."""
    temperature: int | None = None
    """Degrees Celsius."""
    without: list[str] = []
    """Series that this GPU does not have."""


class Change(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What to change, and where: a server's name, or null for every GPU worker. Keys left out stay as they are."""

    worker: str | None = None
    die: bool = False
    """Reset every connection and refuse new ones until `alive`."""
    alive: bool = False
    """A dead server starts again: new start time, new counters."""
    clear: bool = False
    """Back to no fault at all (before the other keys apply)."""
    hang: bool | UnsetType = UNSET
    """Accept, never answer; running streams stand still."""
    slow: float | UnsetType = UNSET
    """Factor on the time everything takes."""
    error_rate: float | UnsetType = UNSET
    error_status: int | UnsetType = UNSET
    retry_after_s: float | UnsetType | None = UNSET
    """Retry-After of the injected errors: with error_rate 1 and error_status 429, a storm."""
    reset_rate: float | UnsetType = UNSET
    """Share of the requests, probes included, whose connection is reset instead of answered."""
    stall: Stall | UnsetType | None = UNSET
    metrics: MetricsFault | UnsetType | None = UNSET
    gpu: GpuFault | UnsetType | None = UNSET
    models: list[str] | UnsetType = UNSET
    """Names of the model that a worker serves from now on, the first one its own: no name may be empty."""
    adapters: list[str] | UnsetType = UNSET
    asleep: bool | UnsetType = UNSET
    """Like POST /sleep and /wake_up: /health stays 200, requests wait."""
    loading: bool | UnsetType = UNSET
    """Like `cold_start`, until it is false again."""
    fail_jobs: float | UnsetType = UNSET
    """Share of the image and video jobs that fail at their end."""
    freeze_metrics: bool | UnsetType = UNSET
    drop_mid_stream: Drop | float | UnsetType | None = UNSET
    """A share alone means after DEFAULT_DROP_AFTER frames; null or 0 ends it."""
    cold_start: float | UnsetType = UNSET
    """For so many seconds /health says 503 and requests wait."""
    xid: int | UnsetType = UNSET
    """The last XID error on this worker's GPU, 0 for none."""
    usage: str | UnsetType = UNSET
    """What answers tell of their usage, one of USAGES: `true`; `none` at all; figures that are all so."""
    account: str | UnsetType = UNSET
    """Managed APIs: one of ACCOUNT_FAULTS."""
    rpm: int | UnsetType | None = UNSET
    tpm: int | UnsetType | None = UNSET
    block_ms: float | UnsetType = UNSET
    """Block the event loop for so long in every engine step: to prove that lateness voids a run."""


class BadChange(Exception):
    """The body of POST /sim/config cannot be applied; the message says why."""


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults in force on one server."""

    hang: bool = False
    slow: float = 1.0
    error_rate: float = 0.0
    error_status: int = 500
    retry_after_s: float | None = None
    reset_rate: float = 0.0
    stall: Stall | None = None
    metrics: MetricsFault | None = None
    gpu: GpuFault | None = None
    loading: bool = False
    fail_jobs: float = 0.0
    freeze_metrics: bool = False
    drop: Drop | None = None
    xid: int = 0
    usage: str = "true"
    account: str = "none"
    block_ms: float = 0.0

    def after(self, change: Change) -> Faults:
        """These faults with the keys that the change sets."""
        values = {field.name: getattr(change, field.name, UNSET) for field in fields(self)}
        drop = change.drop_mid_stream
        if not isinstance(drop, UnsetType):
            drop = Drop(share=drop) if isinstance(drop, float) else drop
            values["drop"] = drop if drop is not None and drop.share > 0 else None
        given = {name: value for name, value in values.items() if value is not UNSET}
        return replace(Faults() if change.clear else self, **given)


_decode = msgspec.json.Decoder(Change).decode


def parse(raw: bytes) -> Change:
    """Decode and check a change. Raises BadChange."""
    try:
        change = _decode(raw)
    except msgspec.MsgspecError as fault:
        raise BadChange(str(fault)) from None
    if change.account is not UNSET and change.account not in ACCOUNT_FAULTS:
        raise BadChange(f"account: one of {', '.join(ACCOUNT_FAULTS)}")
    if change.usage is not UNSET and change.usage not in USAGES:
        raise BadChange(f"usage: one of {', '.join(USAGES)}")
    if isinstance(change.slow, float) and change.slow <= 0:
        raise BadChange("slow: a factor above 0")
    if isinstance(change.error_status, int) and not 400 <= change.error_status <= 599:
        raise BadChange("error_status: 400 to 599")
    if isinstance(change.metrics, MetricsFault) and change.metrics.show not in SHOWS:
        raise BadChange(f"metrics.show: one of {', '.join(SHOWS)}")
    if isinstance(change.models, list) and not all(change.models or [""]):
        raise BadChange("models: at least one name")
    return change
