"""How answers are read, and which cannot be."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

import pytest

from gateway.plan.answers import BadAnswer
from gateway.plan.questions import BY_KEY, QUESTIONS, amount, answers, asked, missing

DAY = date(2026, 11, 22)
LEAST = {"engineers": "some", "tokens": "1M"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("40000", 40_000),
        ("40,000", 40_000),
        ("200M", 200_000_000),
        ("1.5B", 1_500_000_000),
        ("50k", 50_000),
        ("1.2 bn", 1_200_000_000),
        ("75%", Fraction(3, 4)),
        ("$2.60/h", Fraction(13, 5)),
        ("0", 0),
    ],
)
def test_amounts(text: str, value: Fraction) -> None:
    assert amount(text) == value


@pytest.mark.parametrize("text", ["", "many", "-1", "1e9", "5 apples", "1..2", "9" * 30, "٣"])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be a number|unknown size"):
        amount(text)


@pytest.mark.parametrize(
    ("said", "key", "why"),
    [
        ({"engineers": "few"}, "engineers", "one of none, some, full"),
        ({"images": "1.5"}, "images", "whole number"),
        ({"tokens": "0"}, "tokens", "say what is made"),
        ({"utilisation": "0"}, "utilisation", "above 0"),
        ({"utilisation": "120%"}, "utilisation", "at most 1"),
        ({"overhead_min": "6"}, "overhead_min", "at most overhead-max"),
        ({"overhead_min": "0.5"}, "overhead_min", "at least 1"),
        ({"memory_headroom": "0.9"}, "memory_headroom", "at least 1"),
        ({"h100_usd": "0"}, "h100_usd", "above 0"),
        ({"model_gb": "24"}, "model_gb", "without fine_tuned"),
        ({"fine_tuned": "image", "model_gb": "24", "parameters_b": "12"}, "parameters_b", "the same"),
        ({"compliance": "localisation"}, "zone", "where data stays"),
        ({"zone": "eu"}, "zone", "no effect"),
        ({"compliance": "localisation", "zone": "local"}, "zone", "name of a zone"),
        ({"compliance": "localisation", "zone": "e u"}, "zone", "name of a zone"),
        ({"today": "tomorrow"}, "today", "must be a day"),
        ({"team_size": "0"}, "team_size", "at least 1"),
    ],
)
def test_what_cannot_be_is_named(said: dict[str, str], key: str, why: str) -> None:
    with pytest.raises(BadAnswer, match=why) as caught:
        answers(LEAST | said, DAY)
    assert caught.value.key == key


def test_a_zone_is_written_as_policies_write_it() -> None:
    assert answers(LEAST | {"compliance": "localisation", "zone": "EU"}, DAY).zone == "eu"


def test_what_is_missing_is_told_by_flag() -> None:
    assert missing(LEAST) == []
    assert missing({"engineers": "some", "fine_tuned": "image"}) == []
    assert missing({"tokens": "1"}) == ["--engineers"]
    assert missing({"engineers": "some"}) == ["--tokens or --images or --video-seconds or --audio-seconds"]


def test_questions_that_depend_on_others() -> None:
    assert not asked(BY_KEY["zone"], {"compliance": "none"})
    assert asked(BY_KEY["zone"], {"compliance": "localisation"})
    assert not asked(BY_KEY["model_gb"], {"fine_tuned": "none"})
    assert not asked(BY_KEY["utilisation"], {})


def test_every_default_can_be_answered() -> None:
    for question in QUESTIONS:
        if question.default:
            assert question.default in question.choices or question.read(question.default) is not None
