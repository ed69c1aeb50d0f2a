"""A receipt as it comes back from JSON: what of it is read here, every part of which may have been cut."""

from __future__ import annotations

from typing import Annotated, Any, Required, TypedDict

import msgspec

_Number = Annotated[float, msgspec.Meta(ge=0)]
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Moment = Annotated[float, msgspec.Meta(ge=0, le=4e9)]
"""Seconds since the epoch, for another century."""


class Looked(TypedDict, total=False):
    upstream: Required[str]
    score: float
    work: _Count
    load: _Number
    limit: _Count
    queue_depth: _Count | None
    gpu: _Share | None
    age_ms: _Number | None


class Tried(TypedDict, total=False):
    upstream: Required[str]
    result: Required[str]
    status: int | None
    at_ms: Required[float]
    took_ms: Required[float]
    role: str
    asked_at: str
    usd: _Number


class Used(TypedDict, total=False):
    input_tokens: Required[_Count]
    output_tokens: Required[_Count]
    estimated: bool


class Paid(TypedDict, total=False):
    usd: float | None
    basis: Required[str]
    marks: list[str]


class Foreseen(TypedDict, total=False):
    first_ms: Required[float]
    total_ms: Required[float]
    output_tokens: _Count


class Receipt(TypedDict, total=False):
    id: str
    time: _Moment
    tenant: str
    model: str | None
    policy: str
    rule: str | None
    residency: list[str]
    candidates: list[Looked]
    drops: dict[str, int]
    chosen: str | None
    version: str
    version_wanted: str
    attempts: list[Tried]
    outcome: str
    reason: str | None
    spill_when: str | None
    removed: list[str]
    error: str | None
    usage: Used | None
    cost: Paid | None
    forecast: Foreseen | None
    times: dict[str, float | None]
    cut: bool


def as_receipt(data: Any) -> Receipt:
    """Raises ValueError with the place of what no receipt of the gateway holds; quotes nothing."""
    try:
        return msgspec.convert(data, Receipt)
    except msgspec.ValidationError as fault:
        raise ValueError(f"not a receipt of the gateway: {fault}") from None
