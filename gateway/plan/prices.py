"""The few list prices that a plan is made with, each with its source and day, and the models to start with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from gateway.plan.answers import Answers, Medium, Quality

_GUIDE: Final = "vendor guide, 2026-05-28"
MILLION: Final = 1_000_000

TEXT_MODEL: Final = "deepseek-ai/DeepSeek-V3-0324"
TEXT_INPUT_PER_1M: Final = Fraction("0.28")
TEXT_OUTPUT_PER_1M: Final = Fraction("0.88")
_TEXT_SOURCE: Final = "litellm, 2026-11; sources disagree ($0.74 / $0.90 elsewhere)"

IMAGE_MODEL: Final = "gpt-image-2-generate"
IMAGE_BY_QUALITY: Final[Mapping[Quality, Fraction]] = {
    "low": Fraction("0.006"),
    "medium": Fraction("0.053"),
    "high": Fraction("0.211"),
}
"""USD per image of 1024x1024: low and high from the vendor guide, medium from litellm's table of fal, 2026-11."""

VEO_MODEL: Final = "veo-3.1-lite-generate-001"
VEO_PER_SECOND: Final = Fraction("0.05")
WAN_MODEL: Final = "wan2.7-i2v"
WAN_PER_CLIP: Final = Fraction("0.625")

AUDIO_MODEL: Final = "minimax-tts-speech-2.6-turbo"
AUDIO_PER_1K_CHARACTERS: Final = Fraction("0.06")
CHARACTERS_PER_SECOND: Final = 15
"""Of English read aloud, about 150 words a minute."""

IMAGE_TOKENS_PER_1M: Final = Fraction(30)
"""gpt-image-2, output image tokens; genai-prices and litellm, 2026-11-21."""
VIDEO_TOKENS_PER_1M: Final = Fraction("17.5")
"""gemini-omni-1.1-flash, output video tokens; genai-prices, 2026-11-21."""
AUDIO_TOKENS_PER_SECOND: Final = 20
"""One token for 50 ms of speech that is made, as OpenAI counts them."""


@dataclass(frozen=True, slots=True)
class Bought:
    """A model to buy: USD for one unit of its medium, how it is sold, and who says so."""

    model: str
    usd: Fraction
    sold: str
    source: str


@dataclass(frozen=True, slots=True)
class Own:
    """A model to serve: its weights in 10^9 bytes, and who says so."""

    model: str
    gb: Fraction
    source: str


OPEN_MODELS: Final[Mapping[Medium, Own]] = {
    "text": Own("meta-llama/Llama-3.3-70B-Instruct", Fraction(70), "70.6 billion parameters in 8 bits"),
    "image": Own("black-forest-labs/FLUX.1-schnell", Fraction(34), "12 + 4.9 billion parameters in 16 bits"),
    "video": Own("Wan-AI/Wan2.1-I2V-14B-720P", Fraction(45), "16 + 6 billion parameters in 16 bits"),
    "audio": Own("hexgrad/Kokoro-82M", Fraction(2), "82 million parameters, and room for batches"),
}
"""Open weights of the same medium. What a fine-tuned model of unsaid size is taken to weigh, too."""
BYTES_PER_PARAMETER: Final = 2


def bought(answers: Answers, medium: Medium) -> Bought:
    """The managed model to start with: the guide's matrix for pictures and videos, by who can look after prompts."""
    if medium == "text":
        share = answers.prompt_share
        usd = (share * TEXT_INPUT_PER_1M + (1 - share) * TEXT_OUTPUT_PER_1M) / MILLION
        return Bought(TEXT_MODEL, usd, "$0.28 / $0.88 per 1M tokens in / out", _TEXT_SOURCE)
    if medium == "image":
        usd = IMAGE_BY_QUALITY[answers.image_quality]
        source = "litellm, 2026-11" if answers.image_quality == "medium" else _GUIDE
        return Bought(IMAGE_MODEL, usd, f"${float(usd):.3f} per image, {answers.image_quality}", source)
    if medium == "audio":
        usd = AUDIO_PER_1K_CHARACTERS * CHARACTERS_PER_SECOND / 1000
        return Bought(AUDIO_MODEL, usd, "$0.06 per 1,000 characters", "vendor guide, 2026-04-20; its unit is doubtful")
    if answers.engineers == "none":
        return Bought(VEO_MODEL, VEO_PER_SECOND, "$0.05 per second, 720p", _GUIDE)
    said = f"{_GUIDE}; sources disagree ($0.15 to $0.75)"
    return Bought(WAN_MODEL, WAN_PER_CLIP / answers.clip_seconds, "$0.625 per clip, 720p", said)


def own(answers: Answers, medium: Medium) -> Own:
    """The model that our GPUs would serve."""
    if answers.fine_tuned != medium:
        return OPEN_MODELS[medium]
    if answers.model_gb is not None:
        return Own("your fine-tuned model", answers.model_gb, "as you say")
    if answers.parameters_b is not None:
        said = f"{float(answers.parameters_b):g} billion parameters in 16 bits"
        return Own("your fine-tuned model", answers.parameters_b * BYTES_PER_PARAMETER, said)
    return Own("your fine-tuned model", OPEN_MODELS[medium].gb, f"as {OPEN_MODELS[medium].model}; say yours")
