"""What is known about a team and its work, and what is assumed where nobody can know. Amounts are exact fractions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Final, Literal

Medium = Literal["text", "image", "video", "audio"]
MEDIA: Final[tuple[Medium, ...]] = ("text", "image", "video", "audio")
Engineers = Literal["none", "some", "full"]
"""Of machine learning: none, one or some, or a whole MLOps team."""
Compliance = Literal["none", "compliance", "localisation"]
Quality = Literal["low", "medium", "high"]
GpuChoice = Literal["auto", "H100", "H200"]
UNIT: Final[Mapping[Medium, str]] = {
    "text": "tokens",
    "image": "images",
    "video": "video seconds",
    "audio": "audio seconds",
}
VOLUME_KEYS: Final[Mapping[Medium, str]] = {
    "text": "tokens",
    "image": "images",
    "video": "video_seconds",
    "audio": "audio_seconds",
}


class BadAnswer(ValueError):
    """An answer that cannot be, or that does not go with another; `key` is the one to mend."""

    def __init__(self, key: str, said: str) -> None:
        super().__init__(said)
        self.key = key


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What only the team can say, and every assumption that it may replace. Volumes are per month, money is USD."""

    today: date
    """By it prices are marked as old."""
    engineers: Engineers
    team_size: int | None = None
    tokens: int = 0
    """Of text, prompts and answers together."""
    images: int = 0
    video_seconds: int = 0
    audio_seconds: int = 0
    fine_tuned: Medium | None = None
    """What the team's own model makes; None: standard models do."""
    model_gb: Fraction | None = None
    """Memory of the fine-tuned model's weights, in 10^9 bytes."""
    parameters_b: Fraction | None = None
    """Instead of `model_gb`: parameters in 10^9, at two bytes each."""
    compliance: Compliance = "none"
    zone: str | None = None
    """Where data must stay."""
    image_quality: Quality = "low"
    gpu: GpuChoice = "auto"
    h100_usd: Fraction | None = None
    """One GPU for one hour; None: as the price book says, $2.00 and $2.60."""
    h200_usd: Fraction | None = None
    utilisation: Fraction = Fraction("0.75")
    overhead_min: Fraction = Fraction(3)
    """What self-hosting costs in all, over the GPUs alone: engineering, idle nights, updates."""
    overhead_max: Fraction = Fraction(5)
    tokens_per_image: Fraction | None = None
    """None: by price (assumptions.py)."""
    tokens_per_video_second: Fraction | None = None
    tokens_per_audio_second: Fraction | None = None
    prompt_share: Fraction = Fraction("0.8")
    clip_seconds: Fraction = Fraction(5)
    memory_headroom: Fraction = Fraction("1.2")
    baseline_share: Fraction = Fraction("0.8")
    overflow_peak: Fraction = Fraction(4)
    """An hour of a hybrid's overflow may cost so many times its mean: it comes in peaks."""
    private_min: Fraction = Fraction("1.1")
    private_max: Fraction = Fraction("1.25")
    tokens_per_gpu_second: Fraction | None = None
    images_per_gpu_hour: Fraction | None = None
    video_seconds_per_gpu_hour: Fraction | None = None
    audio_seconds_per_gpu_hour: Fraction | None = None

    def __post_init__(self) -> None:
        check(self)

    def volume(self, medium: Medium) -> int:
        return int(getattr(self, VOLUME_KEYS[medium]))

    @property
    def media(self) -> tuple[Medium, ...]:
        """Those that are made, and that of the fine-tuned model in any case."""
        return tuple(medium for medium in MEDIA if self.volume(medium) or medium == self.fine_tuned)


_SHARES: Final = ("utilisation", "prompt_share", "baseline_share")
_RANGES: Final = (("overhead_min", "overhead_max"), ("private_min", "private_max"))
_POSITIVE: Final = (
    "h100_usd",
    "h200_usd",
    "model_gb",
    "parameters_b",
    "clip_seconds",
    "tokens_per_image",
    "tokens_per_video_second",
    "tokens_per_audio_second",
    "tokens_per_gpu_second",
    "images_per_gpu_hour",
    "video_seconds_per_gpu_hour",
    "audio_seconds_per_gpu_hour",
)


def check(answers: Answers) -> None:
    """Raises BadAnswer where an answer cannot be, or has no effect beside another."""
    for key in _POSITIVE:
        value = getattr(answers, key)
        if value is not None and value <= 0:
            raise BadAnswer(key, "must be above 0")
    for key in _SHARES:
        if not 0 < getattr(answers, key) <= 1:
            raise BadAnswer(key, "must be above 0 and at most 1, such as 0.75 or 75%")
    for least, most in _RANGES:
        if not 1 <= getattr(answers, least) <= getattr(answers, most):
            raise BadAnswer(least, f"must be at least 1 and at most {most.replace('_', '-')}")
    if answers.overflow_peak < 1:
        raise BadAnswer("overflow_peak", "must be at least 1: the mean itself has to be bought")
    if answers.memory_headroom < 1:
        raise BadAnswer("memory_headroom", "must be at least 1: weights alone fill that much")
    _volumes(answers)
    _pairs(answers)


def _volumes(answers: Answers) -> None:
    for medium in MEDIA:
        if answers.volume(medium) < 0:
            raise BadAnswer(VOLUME_KEYS[medium], "must not be below 0")
    if not answers.media:
        raise BadAnswer("tokens", "say what is made in a month: tokens, images, video seconds or audio seconds")
    if answers.team_size is not None and answers.team_size < 1:
        raise BadAnswer("team_size", "must be at least 1")


def _pairs(answers: Answers) -> None:
    if answers.model_gb is not None and answers.parameters_b is not None:
        raise BadAnswer("parameters_b", "says the same as model_gb; give one of them")
    sized = answers.model_gb is not None or answers.parameters_b is not None
    if sized and answers.fine_tuned is None:
        key = "model_gb" if answers.model_gb is not None else "parameters_b"
        raise BadAnswer(key, "has no effect without fine_tuned: it is the size of your own model")
    if answers.compliance == "localisation" and answers.zone is None:
        raise BadAnswer("zone", "must say where data stays, such as eu")
    if answers.compliance == "none" and answers.zone is not None:
        raise BadAnswer("zone", "has no effect without compliance: localisation")
