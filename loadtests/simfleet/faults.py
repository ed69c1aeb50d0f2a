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
    freeze_metrics: bool | UnsetType = UNSET
    drop_mid_stream: Drop | float | UnsetType | None = UNSET
    """A share alone means after DEFAULT_DROP_AFTER frames; null or 0 ends it."""
    cold_start: float | UnsetType = UNSET
    """For so many seconds /health says 503 and requests wait."""
    xid: int | UnsetType = UNSET
    """The last XID error on this worker's GPU, 0 for none."""
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
    freeze_metrics: bool = False
    drop: Drop | None = None
    xid: int = 0
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
    if isinstance(change.slow, float) and change.slow <= 0:
        raise BadChange("slow: a factor above 0")
    if isinstance(change.error_status, int) and not 400 <= change.error_status <= 599:
        raise BadChange("error_status: 400 to 599")
    return change
