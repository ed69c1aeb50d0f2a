"""What public models can do, what else they are called, and when they end: one card each, one file per provider.

Data, with source and day, as the price book is; prices are not here (`gateway/prices/`). A card is found by its
provider, as `gateway prices list` calls it, and a name that the model has there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from gateway.catalog.offers import offer_of
from gateway.model import Modality, Offer

FOLDER: Final = Path(__file__).parent / "cards"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    provider: str
    model: str
    """Its id there: what goes into `as` in models.yaml."""
    name: str
    """What a policy calls it, unless it has another name for it: the same model at several providers has one."""
    modality: Modality
    offer: Offer | None = None
    dialect: str
    """Of the backend that serves it."""
    aliases: tuple[str, ...] = ()
    """Other ids of the same model there."""
    retires: date | None = None
    """From that day on the provider does not answer for it, or said that it would not."""
    use: str | None = None
    """The id to use instead."""
    note: str = ""
    source: str = ""
    as_of: str = ""

    def gone(self, today: date) -> bool:
        return self.retires is not None and self.retires <= today


@cache
def cards() -> Mapping[tuple[str, str], Card]:
    """By provider and id, or alias, in small letters. Files are read once, when somebody first looks."""
    found: dict[tuple[str, str], Card] = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        for card in read(yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)):
            for name in (card.model, *card.aliases):
                found[card.provider, name.lower()] = card
    return found


def find(provider: str | None, model: str) -> Card | None:
    return None if provider is None else cards().get((provider, model.lower()))


def read(data: Mapping[str, Any]) -> list[Card]:
    """The cards of one file: `provider`, `dialect`, `source` and `as_of` hold for all its `models`."""
    shared = {key: value for key, value in data.items() if key not in ("models", "families")}
    families: Mapping[str, Any] = data.get("families", {})
    return [_card({**shared, **families.get(one.get("family", ""), {}), **one}) for one in data["models"]]


def _card(written: dict[str, Any]) -> Card:
    written.pop("family", None)
    can, retires = written.pop("can", None), written.pop("retires", None)
    return Card(
        **{
            **written,
            "name": written.get("name") or written["model"].rpartition("/")[2].lower(),
            "aliases": tuple(written.get("aliases", ())),
            "offer": None if can is None else offer_of(can),
            "retires": None if retires is None else date.fromisoformat(retires),
        }
    )
