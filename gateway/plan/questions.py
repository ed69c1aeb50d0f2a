"""The questions of a plan, one table for flags, files and prompts: how each is asked, and how its answer is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Any, Final

from gateway.plan.answers import VOLUME_KEYS, Answers, BadAnswer

_SIZES: Final = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "bn": 10**9, "t": 10**12}
_NUMBER: Final = re.compile(r"\$?([0-9][0-9,_]*(?:\.[0-9]+)?)\s*([a-z]*|%|/h)", re.I)
_ZONE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_LONGEST: Final = 24
"""Characters of a number: nobody makes more than 10^18 of anything in a month."""


def amount(text: str) -> Fraction:
    """`200M`, `1.5B`, `40,000`, `75%`, `$2.00`. Raises ValueError."""
    match = _NUMBER.fullmatch(text.strip()) if len(text) <= _LONGEST else None
    if match is None:
        raise ValueError("must be a number, such as 40000, 200M or 1.5B")
    number, size = Fraction(re.sub("[,_]", "", match[1])), match[2].lower()
    if size == "%":
        return number / 100
    if size == "/h":
        return number
    if size not in _SIZES:
        raise ValueError(f"unknown size `{match[2]}`: k, M, B or T")
    return number * _SIZES[size]


def whole(text: str) -> int:
    found = amount(text)
    if found.denominator != 1:
        raise ValueError("must be a whole number")
    return int(found)


def day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a day, such as 2026-11-22") from None


def zone(text: str) -> str:
    """As policies name zones; `local` is theirs, and means own machines."""
    name = text.strip().lower()
    if name == "local" or not _ZONE.fullmatch(name):
        raise ValueError("must be the name of a zone, such as eu or de")
    return name


@dataclass(frozen=True, slots=True)
class Question:
    key: str
    """A field of Answers."""
    help: str
    read: Callable[[str], Any] = amount
    choices: tuple[str, ...] = ()
    ask: str | None = None
    """How it is asked on a terminal; None: it is not."""
    default: str | None = None
    """What an empty answer there means; None: one must be given."""
    only: tuple[str, tuple[str, ...]] | None = None
    """It is asked only where that other answer is one of these."""

    @property
    def flag(self) -> str:
        return f"--{self.key.replace('_', '-')}"


_OWN: Final = ("text", "image", "video", "audio")
QUESTIONS: Final = (
    Question(
        "engineers",
        "ML engineers who can run GPUs: none, one or some, a full MLOps team.",
        str,
        ("none", "some", "full"),
        "ML engineers who can run GPUs (none, some, full)",
    ),
    Question("team_size", "People in the team.", whole, ask="People in the team", default="1"),
    Question("tokens", "Text tokens a month, in and out.", whole, ask="Text tokens a month", default="0"),
    Question("images", "Images a month.", whole, ask="Images a month", default="0"),
    Question("video_seconds", "Seconds of video a month.", whole, ask="Seconds of video a month", default="0"),
    Question("audio_seconds", "Seconds of speech a month.", whole, ask="Seconds of speech a month", default="0"),
    Question(
        "fine_tuned",
        "What your own fine-tuned model makes.",
        str,
        ("none", *_OWN),
        "A fine-tuned model of your own (none, text, image, video, audio)",
        "none",
    ),
    Question("model_gb", "Its weights in GB.", ask="Its weights in GB", default="", only=("fine_tuned", _OWN)),
    Question("parameters_b", "Instead: its parameters in billions, at 2 bytes each."),
    Question(
        "compliance",
        "What the law or a contract asks.",
        str,
        ("none", "compliance", "localisation"),
        "Compliance (none, compliance, localisation: data must stay in a zone)",
        "none",
    ),
    Question("zone", "Where data must stay.", zone, ask="Where", default="eu", only=("compliance", ("localisation",))),
    Question("image_quality", "By which images are bought; default low.", str, ("low", "medium", "high")),
    Question("gpu", "Kind of GPU; default: the cheapest that fits.", str, ("auto", "H100", "H200")),
    Question("h100_usd", "USD for an H100 and hour; default 2.00."),
    Question("h200_usd", "USD for an H200 and hour; default 2.60."),
    Question("utilisation", "Share of the time that GPUs work; default 75%."),
    Question("overhead_min", "Cost of self-hosting over the GPUs' alone, at least; default 3."),
    Question("overhead_max", "The same at most; default 5."),
    Question("tokens_per_image", "What an image counts for; default by price."),
    Question("tokens_per_video_second", "What a second of video counts for; default by price."),
    Question("tokens_per_audio_second", "What a second of speech counts for; default 20."),
    Question("prompt_share", "Share of text tokens that are prompt; default 80%."),
    Question("clip_seconds", "Length of a video clip; default 5."),
    Question("memory_headroom", "Memory over the weights alone; default 1.2."),
    Question("baseline_share", "Share of a hybrid on own GPUs; default 80%."),
    Question("overflow_peak", "Budget of an hour of overflow over its mean; default 4."),
    Question("private_min", "Price of private endpoints over list price, at least; default 1.1."),
    Question("private_max", "The same at most; default 1.25."),
    Question("tokens_per_gpu_second", "What one GPU makes; default: an estimate."),
    Question("images_per_gpu_hour", "What one GPU makes; default: an estimate."),
    Question("video_seconds_per_gpu_hour", "What one GPU makes; default: an estimate."),
    Question("audio_seconds_per_gpu_hour", "What one GPU makes; default: an estimate."),
    Question("today", "The day by which prices are marked as old; default: today.", day),
)
BY_KEY: Final[Mapping[str, Question]] = {question.key: question for question in QUESTIONS}


def answered(question: Question, text: str) -> Any:
    """The answer as Answers holds it. Raises BadAnswer."""
    if question.choices and text not in question.choices:
        raise BadAnswer(question.key, f"must be one of {', '.join(question.choices)}")
    try:
        found = question.read(text)
    except ValueError as fault:
        raise BadAnswer(question.key, str(fault)) from None
    return None if question.key == "fine_tuned" and found == "none" else found


def asked(question: Question, so_far: Mapping[str, str]) -> bool:
    """Whether a terminal is asked it after these answers."""
    if question.ask is None:
        return False
    return question.only is None or so_far.get(question.only[0]) in question.only[1]


def missing(given: Mapping[str, str]) -> list[str]:
    """Flags without which there is no plan."""
    flags = [] if "engineers" in given else [BY_KEY["engineers"].flag]
    if not given.keys() & set(VOLUME_KEYS.values()) and given.get("fine_tuned", "none") == "none":
        flags.append(" or ".join(BY_KEY[key].flag for key in VOLUME_KEYS.values()))
    return flags


def answers(given: Mapping[str, str], today: date) -> Answers:
    """From texts by key. Raises BadAnswer; what is missing must have been looked for."""
    found = {key: answered(BY_KEY[key], text) for key, text in given.items()}
    return Answers(**{"today": today, **found})
