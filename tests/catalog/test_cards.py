"""The cards are what models.yaml could say, and are found by every name that a model has."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

from gateway.catalog.cards import FOLDER, Card, cards, find, read
from gateway.catalog.offers import offer_of
from gateway.model import Offer
from gateway.policy.offer_schema import OfferIn
from gateway.prices import book

FILES = sorted(FOLDER.glob("*.yaml"))
_OFFER = TypeAdapter(OfferIn)


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_each_card_says_what_models_yaml_may_say(path: Path) -> None:
    data = yaml.safe_load(path.read_bytes())
    whole = [*data["models"], *data.get("families", {}).values()]
    for can in (one["can"] for one in whole if "can" in one):
        assert _OFFER.validate_json(json.dumps(can)).made() == offer_of(can)
    assert all(isinstance(card.source and card.as_of, str) for card in read(data))


def test_a_card_is_found_by_each_of_its_names() -> None:
    found = find("gmi", "Seedream-5.0-Lite")
    assert found is not None
    assert (found.model, found.modality, found.dialect) == ("seedream-5.0-lite", "image", "gmi")
    assert isinstance(found.offer, Offer)
    assert found.offer.default_size == "2K"
    assert find("gmi", "nobody") is None
    assert find(None, "seedream-5.0-lite") is None


def test_providers_are_those_of_the_price_book() -> None:
    assert {provider for provider, _ in cards()} <= set(book.providers())


def test_the_day_it_ends() -> None:
    card = Card(provider="x", model="m", name="m", modality="image", dialect="openai", retires=date(2026, 12, 1))
    assert not card.gone(date(2026, 11, 30))
    assert card.gone(date(2026, 12, 1))
