"""The cards are what models.yaml could say, hold together, and are found by every name that a model has."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import TypeAdapter

from gateway.catalog.cards import FOLDER, LOCAL, Card, cards, every, find, offers
from gateway.catalog.offers import can_of, offer_of
from gateway.model import Modality, Offer
from gateway.policy.offer_schema import OfferIn
from gateway.policy.schema import DialectName
from gateway.prices import book
from gateway.routing.capability import BY_DIALECT, BY_ENGINE, BY_MODALITY

FILES = sorted(FOLDER.glob("*.yaml"))
_OFFER = TypeAdapter(OfferIn)
BOUGHT = [card for card in every() if card.provider != LOCAL]


def named(card: Card) -> str:
    return f"{card.provider}/{card.model}"


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_each_card_says_what_models_yaml_may_say(path: Path) -> None:
    data = yaml.safe_load(path.read_bytes())
    whole = [*data["models"], *data.get("families", {}).values()]
    for can in (one["can"] for one in whole if "can" in one):
        assert _OFFER.validate_json(json.dumps(can)).made() == offer_of(can)
    used = {one.get("family") for one in data["models"]}
    assert set(data.get("families", {})) - set(offers(path.stem)) <= used, "a family that nothing is of"


def test_what_can_be_done_is_written_as_it_is_read() -> None:
    for offer in {card.offer for card in every() if card.offer is not None} | {Offer()}:
        assert offer_of(can_of(offer)) == offer


def test_there_are_many_of_each_kind() -> None:
    assert len({(card.provider, card.model) for card in BOUGHT}) >= 250
    counted = {kind: sum(card.modality == kind for card in BOUGHT) for kind in get_args(Modality)}
    assert all(count >= 25 for count in counted.values()), counted


def test_no_two_models_of_a_provider_have_a_name_in_common() -> None:
    assert len(cards()) == sum(1 + len(card.aliases) for card in every())


def test_who_ends_is_replaced_by_one_of_its_kind_that_lives() -> None:
    for card in every():
        if card.use is not None:
            use = find(card.provider, card.use)
            assert use is not None, named(card)
            assert use.modality == card.modality, named(card)
            assert not use.gone(max(card.as_of, card.retires or card.as_of)), named(card)
    assert {named(card) for card in every() if card.retires is not None and card.use is None} == {
        *(f"openai/{model}" for model in ("tts-1", "tts-1-hd", "gpt-4o-mini-tts", "sora-2", "sora-2-pro")),
    }


def test_each_says_where_it_is_from() -> None:
    for card in every():
        assert card.source, named(card)
        assert date(2026, 11, 1) <= card.as_of <= date(2027, 12, 31), named(card)
        assert card.modality in get_args(Modality), named(card)


def test_what_it_is_asked_by_is_spoken_there() -> None:
    for card in BOUGHT:
        assert card.dialect in get_args(DialectName), named(card)
        spoken = BY_DIALECT[card.dialect] & BY_MODALITY[card.modality]
        if card.offer is not None and card.offer.endpoints is not None and not card.gone(card.as_of):
            assert card.offer.endpoints & BY_DIALECT[card.dialect], named(card)
        else:
            assert spoken or card.gone(card.as_of), named(card)
    for card in (card for card in every() if card.provider == LOCAL):
        assert card.engines, named(card)
        assert card.memory_gb, named(card)
        for engine in card.engines:
            assert BY_ENGINE[engine] & BY_MODALITY[card.modality], (named(card), engine)


def test_a_card_is_found_by_each_of_its_names() -> None:
    found = find("gmi", "Seedream-5.0-Lite")
    assert found is not None
    assert (found.model, found.modality, found.dialect) == ("seedream-5.0-lite", "image", "gmi")
    assert isinstance(found.offer, Offer)
    assert found.offer.default_size == "2K"
    assert find("openai", "gpt-4o-2024-08-06") is find("openai", "gpt-4o")
    assert find("dashscope-intl", "wan2.7-t2v") != find("dashscope-cn", "wan2.7-t2v")
    assert find("gmi", "nobody") is None
    assert find(None, "seedream-5.0-lite") is None


def test_providers_are_those_of_the_price_book() -> None:
    assert {card.provider for card in BOUGHT} <= set(book.providers())


def test_the_price_book_names_the_same_day_of_an_end() -> None:
    disputed = {"google-vertex/veo-3.1-generate-001", "google-vertex/veo-3.1-fast-generate-001"}
    for card in BOUGHT:
        known = book.find(card.provider, card.model, card.as_of)
        if known is not None and known.ends is not None and named(card) not in disputed:
            assert card.retires == date.fromisoformat(known.ends), named(card)


def test_the_day_it_ends() -> None:
    card = Card(
        provider="x", model="m", name="m", modality="image", dialect="openai", retires=date(2026, 12, 1),
        source="x", as_of=date(2026, 11, 1),
    )  # fmt: skip
    assert not card.gone(date(2026, 11, 30))
    assert card.gone(date(2026, 12, 1))
