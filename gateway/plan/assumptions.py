"""Every assumption that an answer rests on: its value, how it was chosen, and the flag that replaces it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from fractions import Fraction
from typing import Any, Final, NamedTuple

from gateway.plan.answers import Answers, Medium
from gateway.plan.costs import Line
from gateway.plan.prices import gpu_source, gpu_usd
from gateway.plan.volume import tokens_each
from gateway.plan.words import number


class Assumption(NamedTuple):
    key: str
    value: str
    how: str
    """Where it comes from."""


_GUIDE: Final = "guide of 2026-05-28"
_SAID: Final = "as you say"
_WHOLE: Final = 100
"""From here on decimals say nothing."""
_TOKENS: Final[Mapping[Medium, tuple[str, str]]] = {
    "image": ("tokens_per_image", "its list price over $30 per 1M image tokens (gpt-image-2; genai-prices, 2026-11)"),
    "video": (
        "tokens_per_video_second",
        "$0.05 (veo-3.1-lite) over $17.50 per 1M video tokens (gemini-omni-1.1-flash; genai-prices, 2026-11)",
    ),
    "audio": ("tokens_per_audio_second", "a token for 50 ms of speech, as OpenAI counts"),
}
_SPEEDS: Final[Mapping[Medium, tuple[str, int, str]]] = {
    "text": ("tokens_per_gpu_second", 3600, "the gateway's prior (70B in 8 bits), by size; measure yours"),
    "image": ("images_per_gpu_hour", 1, "estimate: 1 s each (1024x1024, 4 steps, 34 GB), by size; measure yours"),
    "video": (
        "video_seconds_per_gpu_hour",
        1,
        "estimate: 30 min for 5 s (720p, 45 GB), by size; measure yours",
    ),
    "audio": ("audio_seconds_per_gpu_hour", 1, "estimate: 100 x real time (2 GB), by size; measure yours"),
}
_DEFAULTS: Final[Mapping[str, Any]] = {field.name: field.default for field in fields(Answers)}


def assumptions(answers: Answers, lines: tuple[Line, ...]) -> tuple[Assumption, ...]:
    """Those that matter to these answers."""
    return tuple(_all(answers, lines))


def _all(answers: Answers, lines: tuple[Line, ...]) -> Iterator[Assumption]:
    for each in lines:
        if each.medium in _TOKENS:
            key, how = _TOKENS[each.medium]
            yield _one(answers, key, number(tokens_each(answers, each.medium)), how)
    for each in lines:
        key, seconds, how = _SPEEDS[each.medium]
        per_gpu = each.worker.per_hour / each.worker.gpus / seconds
        yield _one(answers, key, number(per_gpu if per_gpu < _WHOLE else Fraction(round(per_gpu))), how)
    for kind, key in (("H100", "h100_usd"), ("H200", "h200_usd")):
        yield _one(answers, key, f"{float(gpu_usd(answers, kind)):.2f}", f"an hour; {gpu_source(kind)}")
    yield _one(answers, "utilisation", _share(answers.utilisation), f"of 730 hours a month; {_GUIDE}")
    least = "the GPU price: engineers, idle time, updates;"
    yield _one(answers, "overhead_min", number(answers.overhead_min), f"{least} {_GUIDE}")
    yield _one(answers, "overhead_max", number(answers.overhead_max), f"{least} {_GUIDE}")
    yield _one(answers, "memory_headroom", number(answers.memory_headroom), "x weights: a fifth for KV cache, buffers")
    yield _one(answers, "baseline_share", _share(answers.baseline_share), "on own GPUs in a hybrid; peaks are bought")
    yield _one(answers, "overflow_peak", number(answers.overflow_peak), "x its mean: what an hour of overflow may cost")
    yield _one(answers, "private_min", number(answers.private_min), "x list price: one region at Anthropic")
    yield _one(answers, "private_max", number(answers.private_max), "x list price: one region at Together")
    media = [each.medium for each in lines]
    if "text" in media:
        yield _one(answers, "prompt_share", _share(answers.prompt_share), "of tokens: four in, one out")
    if "video" in media:
        yield _one(answers, "clip_seconds", number(answers.clip_seconds), "of a clip that is sold by the piece")


def _share(share: Fraction) -> str:
    return f"{number(share * 100)}%"


def _one(answers: Answers, key: str, value: str, how: str) -> Assumption:
    return Assumption(key, value, how if getattr(answers, key) == _DEFAULTS[key] else _SAID)
