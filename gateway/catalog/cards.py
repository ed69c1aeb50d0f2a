"""What public models can do, what else they are called, and when they end: one card each, one file per provider.

Data, with source and day, as the price book is; prices are not here (`gateway/prices/`). A card is found by its
provider, as `gateway prices list` calls it, and a name that the model has there. Open-weight models for our own workers
stand under LOCAL, by the repository that an engine loads.

`families` of a file say what its models share. What a family can do is also what the dialect of that provider holds its
models to (`upstreams/dialects/managed/`): it is written here alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from gateway.catalog.offers import offer_of
from gateway.model import Modality, Offer

FOLDER: Final = Path(__file__).parent / "cards"
LOCAL: Final = "local"
"""Stands where the provider of a bought model does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    provider: str
    model: str
    """Its id there: what goes into `as` in models.yaml."""
    name: str
    """What a policy calls it, unless it has another name for it: the same model at several providers has one."""
    modality: Modality
    offer: Offer | None = None
    """None: all that its dialect speaks, within no bounds that anybody knows."""
    dialect: str
    """Of the backend that serves it."""
    aliases: tuple[str, ...] = ()
    """Other ids of the same model there."""
    retires: date | None = None
    """From that day on the provider does not answer for it, or said that it would not."""
    use: str | None = None
    """The id to use instead."""
    engines: tuple[str, ...] = ()
    """Of our own workers: those that serve it."""
    memory_gb: float | None = None
    """On our own workers: what it typically takes of all GPUs of one worker together, in 10^9 bytes."""
    gpus: int = 1
    """On our own workers: how many GPUs of 80 to 141 GB share it, typically."""
    note: str = ""
    source: str
    as_of: date
    """The day on which the source said so."""

    def gone(self, today: date) -> bool:
        return self.retires is not None and self.retires <= today


@cache
def cards() -> Mapping[tuple[str, str], Card]:
    """By provider and id, or alias, in small letters. Files are read once, when somebody first looks."""
    return {(card.provider, name.lower()): card for card in every() for name in (card.model, *card.aliases)}


@cache
def every() -> tuple[Card, ...]:
    """Each card once, in the order of the files."""
    return tuple(card for path in sorted(FOLDER.glob("*.yaml")) for card in read(_written(path.stem)))


def find(provider: str | None, model: str) -> Card | None:
    return None if provider is None else cards().get((provider, model.lower()))


@cache
def offers(file: str) -> Mapping[str, Offer]:
    """Family -> what its models can do, of the file that is called `file`."""
    families: Mapping[str, Any] = _written(file)["families"]
    return {name: offer_of(one["can"]) for name, one in families.items() if "can" in one}


def read(data: Mapping[str, Any]) -> Iterator[Card]:
    """The cards of one file: `provider`, `dialect`, `source` and `as_of` hold for all its `models`. Where there are
    several providers, each has a card of its own."""
    shared = {key: value for key, value in data.items() if key not in ("models", "families")}
    families: Mapping[str, Any] = data.get("families", {})
    for one in data["models"]:
        written = {**shared, **(families[one["family"]] if "family" in one else {}), **one}
        providers = written["provider"]
        for provider in providers if isinstance(providers, list) else [providers]:
            yield _card(written | {"provider": provider})


@cache
def _written(file: str) -> Mapping[str, Any]:
    data: Mapping[str, Any] = yaml.load((FOLDER / f"{file}.yaml").read_bytes(), Loader=yaml.CSafeLoader)
    return data


def _card(written: dict[str, Any]) -> Card:
    written.pop("family", None)
    can = written.pop("can", None)
    return Card(
        **{
            **written,
            "name": written.get("name") or written["model"].rpartition("/")[2].lower(),
            "aliases": tuple(written.get("aliases", ())),
            "engines": tuple(written.get("engines", ())),
            "offer": None if can is None else offer_of(can),
            "as_of": date.fromisoformat(written["as_of"]),
        }
    )
