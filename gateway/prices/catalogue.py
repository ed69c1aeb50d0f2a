"""Our own data (catalogue.yaml): prices of media and GPU hours, each with its source, its day and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

import yaml

from gateway.model import Confidence
from gateway.prices.rates import Rate

FILE: Final = Path(__file__).parent / "catalogue.yaml"


@dataclass(frozen=True, slots=True)
class Said:
    """What another source says of the same: shown, never billed."""

    usd: Decimal
    source: str
    as_of: str
    rate: Rate | None = None
    """None: of a GPU hour."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One model at one API. `model` may be a glob, where a source names a family."""

    provider: str
    model: str
    modality: str
    rates: tuple[Rate, ...]
    source: str
    as_of: str
    confidence: Confidence
    sold_seconds: tuple[int, ...] = ()
    conflicts: tuple[Said, ...] = ()
    note: str = ""
    seen: str = ""
    """The vendor's page that the source names."""
    ends: str | None = None
    """The day from which on it is not sold any more."""


@dataclass(frozen=True, slots=True)
class GpuHour:
    """One GPU for an hour, on demand."""

    kind: str
    usd_per_hour: Decimal
    source: str
    as_of: str
    confidence: Confidence
    conflicts: tuple[Said, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Provider:
    name: str
    hosts: tuple[str, ...] = ()
    """Globs."""
    tokens: str | None = None
    """What genai-prices calls it; None: it has none of it."""


@dataclass(frozen=True)
class Catalogue:
    sources: Mapping[str, Mapping[str, str]]
    providers: Mapping[str, Provider]
    gpus: Mapping[str, GpuHour]
    entries: tuple[Entry, ...] = field(repr=False)

    @cached_property
    def by_name(self) -> Mapping[tuple[str, str], Entry]:
        """By provider and the model's name in small letters: sources spell them differently."""
        return {(entry.provider, entry.model.lower()): entry for entry in self.entries}

    @cached_property
    def families(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if "*" in entry.model)


@cache
def catalogue() -> Catalogue:
    """The file, read once, when a price is first looked up: 30 ms of CPU."""
    with FILE.open("rb") as file:
        data = yaml.load(file, Loader=yaml.CSafeLoader)
    return Catalogue(
        sources=data["sources"],
        providers={
            name: Provider(name, tuple(one["hosts"]), one.get("tokens")) for name, one in data["providers"].items()
        },
        gpus={one["kind"]: _gpu(one) for one in data["gpus"]},
        entries=tuple(_entry(group, one) for group in data["prices"] for one in group["models"]),
    )


def _entry(group: Mapping[str, Any], written: Mapping[str, Any]) -> Entry:
    shared = {key: value for key, value in group.items() if key != "models"}
    return Entry(
        **{
            **shared,
            **written,
            "rates": tuple(Rate.read(rate) for rate in written["rates"]),
            "sold_seconds": tuple(written.get("sold_seconds", ())),
            "conflicts": tuple(_said(one) for one in written.get("conflicts", ())),
        }
    )


def _gpu(written: Mapping[str, Any]) -> GpuHour:
    hourly = Decimal(str(written["usd_per_hour"]))
    conflicts = tuple(_said(one) for one in written.get("conflicts", ()))
    return GpuHour(**{**written, "usd_per_hour": hourly, "conflicts": conflicts})


def _said(written: Mapping[str, Any]) -> Said:
    about = {key: value for key, value in written.items() if key not in ("source", "as_of", "note")}
    rate = Rate.read(about) if "per" in about else None
    usd = Decimal(str(written["usd"]))
    return Said(usd, written["source"], written["as_of"], rate, written.get("note", ""))
