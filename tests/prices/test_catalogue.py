"""Our own data: every entry says where it is from, how old and how sure it is, and can be billed."""

from __future__ import annotations

from datetime import date
from typing import get_args

import pytest

from gateway.model import Confidence, Mark
from gateway.prices import book, told
from gateway.prices.catalogue import Entry, catalogue
from gateway.prices.marks import earliest, marks, origin
from gateway.prices.rates import MEDIA, REQUEST, TOKENS
from gateway.routing.media import is_free

TODAY = date(2026, 11, 22)
ENTRIES = catalogue().entries
LEVELS = set(get_args(Confidence)) - {"stated"}


@pytest.mark.parametrize("entry", ENTRIES, ids=[f"{entry.provider}/{entry.model}" for entry in ENTRIES])
def test_an_entry_is_whole(entry: Entry) -> None:
    assert entry.source in catalogue().sources
    assert entry.provider in catalogue().providers
    assert entry.confidence in LEVELS
    assert date(2025, 1, 1) < earliest(entry.as_of) <= TODAY
    assert {rate.per for rate in entry.rates} <= {*MEDIA, *TOKENS, REQUEST}
    assert all(said.source in catalogue().sources for said in entry.conflicts)
    known = book.find(entry.provider, entry.model, TODAY)
    assert known is not None
    assert not is_free(known.price)
    assert known.price.origin.source == entry.source
    assert told.in_words(known.price) != ["nothing"]
    assert told.as_data(known)["as_of"] == entry.as_of


def test_no_model_is_there_twice() -> None:
    assert len(catalogue().by_name) == len(ENTRIES)


def test_conflicts_stay_visible() -> None:
    known = book.find("gmi", "wan2.7-i2v", TODAY)
    assert known is not None
    assert [told.conflict(said) for said in known.conflicts] == [
        "gmi-recipes (2026-05-04) says $0.15 a generation",
        "litellm (2026-11) says $0.10 a second (720p): Alibaba, Singapore",
    ]
    in_conflict = [entry for entry in ENTRIES if entry.confidence == "conflict"]
    assert {entry.model for entry in in_conflict} >= {"wan2.7-i2v", "Kling-Image2Video-V2.1-Pro"}


def test_a_family_stands_for_its_members() -> None:
    known = book.find("gmi", "pixverse-v5.6-t2v", TODAY)
    assert known is not None
    assert known.model == "pixverse-v5.6-*"


@pytest.mark.parametrize(
    ("as_of", "confidence", "expected"),
    [
        ("2026-11-21", "verified", ()),
        ("2026-05-26", "verified", ()),  # 180 days
        ("2026-05-25", "verified", ("old",)),
        ("2026", "aggregator", ("old",)),  # may have been January
        ("2026-11", "guide", ("low_confidence",)),
        ("2026-04-20", "conflict", ("old", "low_confidence")),
        (None, "stated", ()),
        ("2026-01-01", "stated", ("old",)),
    ],
)
def test_marks(as_of: str | None, confidence: Confidence, expected: tuple[Mark, ...]) -> None:
    assert marks(as_of, confidence, TODAY) == expected
    assert origin("x", as_of, confidence, TODAY).marks == expected


def test_an_age_of_ones_own() -> None:
    assert marks("2026-11-01", "verified", TODAY, max_age_days=20) == ("old",)


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("https://api.gmi-serving.com/v1", "gmi"),
        ("https://api.openai.com/v1", "openai"),
        ("https://api.groq.com/openai/v1", "groq"),
        ("https://europe-west4-aiplatform.googleapis.com/v1", "google-vertex"),
        ("https://api.gmi-serving.com.evil.example/v1", None),
        ("http://127.0.0.1:9000", None),
    ],
)
def test_whose_address_it_is(url: str, provider: str | None) -> None:
    assert book.provider_at(url) == provider
