"""Token prices: ours are the package's own, exactly."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib.metadata import version

import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import Usage as TheirUsage

from gateway.model import Usage
from gateway.prices import book, genai
from gateway.routing.bill import bill, micro, token_pico

TODAY = date(2026, 11, 22)
MODELS = [
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-opus-4-1"),
    ("openai", "gpt-4o"),
    ("openai", "gpt-5.4"),
    ("openai", "gpt-audio"),
    ("openai", "gpt-image-1"),
    ("google", "gemini-2.5-pro"),
    ("google", "gemini-2.5-flash"),
    ("groq", "llama-3.3-70b-versatile"),
    ("mistral", "mistral-large-latest"),
    ("x-ai", "grok-3"),
]
USES = [
    {"input_tokens": 1155, "output_tokens": 211},
    {"input_tokens": 1, "output_tokens": 0},
    {"input_tokens": 0, "output_tokens": 7},
    {"input_tokens": 100_000, "output_tokens": 3, "cached_tokens": 99_000},
    {"input_tokens": 50_000, "output_tokens": 500, "cached_tokens": 9_000, "cache_write_tokens": 40_000},
    {"input_tokens": 200_000, "output_tokens": 10},
    {"input_tokens": 200_001, "output_tokens": 10},
    {"input_tokens": 272_001, "output_tokens": 10_000, "cached_tokens": 1_000},
]


@pytest.mark.parametrize(("provider", "model"), MODELS)
@pytest.mark.parametrize("used", USES, ids=[str(list(used.values())) for used in USES])
def test_the_package_bills_the_same(provider: str, model: str, used: dict[str, int]) -> None:
    theirs = TheirUsage(
        input_tokens=used["input_tokens"],
        output_tokens=used["output_tokens"],
        cache_read_tokens=used.get("cached_tokens", 0),
        cache_write_tokens=used.get("cache_write_tokens", 0),
    )
    asked = datetime.combine(TODAY, time(12), UTC)
    said = get_snapshot().calc(theirs, model, provider, None, asked).total_price
    listed = genai.find(provider, model, TODAY)
    assert listed is not None
    usage = Usage(**used)
    pico = token_pico(listed.price.tokens_for(usage.input_tokens), usage)
    assert pico == said * 10**12
    assert bill(listed.price, usage) == micro(pico) == math.ceil(said * 10**6)


def test_what_is_scheduled_is_no_proof_of_later_care() -> None:
    assert version(genai.SOURCE) == genai.RELEASE[0], "the lock has another release: tell the day it was taken up"
    day = genai.as_of(TODAY)
    assert day <= TODAY.isoformat()
    assert genai.as_of(date(2027, 11, 22)) == day


def test_tiers_of_service() -> None:
    standard, batch = (book.find("anthropic", "claude-sonnet-4-5", TODAY, tier=tier) for tier in ("standard", "batch"))
    assert standard is not None
    assert batch is not None
    assert 2 * batch.price.tokens.input == standard.price.tokens.input
    assert book.find("groq", "llama-3.3-70b-versatile", TODAY, tier="batch") is None


def test_where_the_hour_matters_the_dearest_counts() -> None:
    listed = genai.find("deepseek", "deepseek-v4-pro", TODAY)
    assert listed is not None
    prices = {
        get_snapshot()
        .calc(
            TheirUsage(output_tokens=10**6), "deepseek-v4-pro", "deepseek", None, datetime.combine(TODAY, time(h), UTC)
        )
        .total_price
        for h in range(24)
    }
    assert len(prices) > 1
    assert Decimal(listed.price.tokens.output) == max(prices) * 10**6
    assert "time of day" in listed.note


@pytest.mark.parametrize(
    ("model", "used", "micro_usd"),
    [("whisper-1", Usage(0, 0, audio_seconds=3600.0), 360_000), ("tts-1", Usage(0, 0, characters=1000), 15_000)],
)
def test_what_it_sells_by_other_units(model: str, used: Usage, micro_usd: int) -> None:
    known = book.find("openai", model, TODAY)
    assert known is not None
    assert bill(known.price, used) == micro_usd


def test_a_price_holds_from_its_day_on() -> None:
    assert genai.as_of(date(2026, 11, 22)) <= "2026-11-22"
    assert genai.as_of(date(2025, 1, 1)) <= "2025-01-01"


def test_what_nobody_knows() -> None:
    assert book.find("openai", "no-such-model", TODAY) is None
    assert book.find("nobody", "gpt-4o", TODAY) is None
    assert book.gpu("B300") is None
