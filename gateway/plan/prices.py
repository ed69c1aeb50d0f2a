"""The models to start with, and what they cost: list prices from the price book, turned into USD for one unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Final

from gateway.model import PICO_PER_USD, MediaRate, Origin
from gateway.plan.answers import Answers, Medium
from gateway.prices import book

PROVIDER: Final = "gmi"
TEXT_MODEL: Final = "deepseek-ai/DeepSeek-V3-0324"
IMAGE_MODEL: Final = "gpt-image-2-generate"
VEO_MODEL: Final = "veo-3.1-lite-generate-001"
WAN_MODEL: Final = "wan2.7-i2v"
AUDIO_MODEL: Final = "minimax-tts-speech-2.6-turbo"
"""Pictures and videos as the guide's matrix names them (2026-05-28); text and speech of its pipelines (2026-04-20)."""

_SECONDS_PER_CALL: Final = Fraction(1000, 15)
"""A call is taken to be 1,000 characters, as the model's maker sells it, spoken at 15 a second: 150 words a minute."""
_PER_1M: Final = 1_000_000
_BYTES_PER_PARAMETER: Final = 2


@dataclass(frozen=True, slots=True)
class Bought:
    """A model to buy: USD for one unit of its medium, how it is sold, and who says so."""

    model: str
    usd: Fraction
    sold: str
    origin: Origin
    disputed: bool
    """Other sources say another price."""

    @property
    def source(self) -> str:
        """Where and when the price was read, and what is to be said of it today."""
        marks = [mark.replace("_", " ") for mark in self.origin.marks]
        if self.disputed:
            marks.append("sources disagree")
        return ", ".join([self.origin.source, str(self.origin.as_of), *marks])


@dataclass(frozen=True, slots=True)
class Own:
    """A model to serve: its weights in 10^9 bytes, and who says so."""

    model: str
    gb: Fraction
    source: str


OPEN_MODELS: Final[Mapping[Medium, Own]] = {
    "text": Own("meta-llama/Llama-3.3-70B-Instruct", Fraction(70), "70 billion parameters in 8 bits"),
    "image": Own("black-forest-labs/FLUX.1-schnell", Fraction(34), "12 + 5 billion parameters in 16 bits"),
    "video": Own("Wan-AI/Wan2.1-I2V-14B-720P", Fraction(45), "16 + 6 billion parameters in 16 bits"),
    "audio": Own("hexgrad/Kokoro-82M", Fraction(2), "82 million parameters, and room for batches"),
}
"""Open weights of the same medium. What a fine-tuned model of unsaid size is taken to weigh, too."""


def bought(answers: Answers, medium: Medium) -> Bought:
    """The managed model to start with."""
    if medium == "text":
        return _text(answers)
    if medium == "image":
        return _image(answers)
    if medium == "audio":
        known = _known(AUDIO_MODEL, answers.today)
        usd = Fraction(known.price.per_request, PICO_PER_USD)
        return Bought(
            AUDIO_MODEL,
            usd / _SECONDS_PER_CALL,
            f"{_usd(usd)} per 1,000 characters",
            known.price.origin,
            bool(known.conflicts),
        )
    return _video(answers)


def _text(answers: Answers) -> Bought:
    known = _known(TEXT_MODEL, answers.today)
    rates, share = known.price.tokens, answers.prompt_share
    mixed = (share * rates.input + (1 - share) * rates.output) / PICO_PER_USD
    each = [_usd(Fraction(rate * _PER_1M, PICO_PER_USD)) for rate in (rates.input, rates.output)]
    return Bought(
        TEXT_MODEL, mixed, f"{each[0]} / {each[1]} per 1M in / out", known.price.origin, bool(known.conflicts)
    )


def _image(answers: Answers) -> Bought:
    known = _known(IMAGE_MODEL, answers.today)
    rate = next(rate for rate in known.price.media if rate.quality == answers.image_quality)
    usd = Fraction(rate.pico, PICO_PER_USD)
    others = [other.rate for other in known.conflicts if other.rate is not None]
    disputed = any(other.quality == answers.image_quality for other in others)
    return Bought(IMAGE_MODEL, usd, f"{_usd(usd)} per image, {answers.image_quality}", known.price.origin, disputed)


def _video(answers: Answers) -> Bought:
    """Without engineers veo, else wan, as the matrix says."""
    model = VEO_MODEL if answers.engineers == "none" else WAN_MODEL
    known = _known(model, answers.today)
    rate: MediaRate = known.price.media[0]
    usd, disputed = Fraction(rate.pico, PICO_PER_USD), bool(known.conflicts)
    if rate.unit == "second":
        return Bought(model, usd, f"{_usd(usd)} per second, {rate.resolution}", known.price.origin, disputed)
    said = f"{_usd(usd)} per clip of {float(answers.clip_seconds):g} s, {rate.resolution}"
    return Bought(model, usd / answers.clip_seconds, said, known.price.origin, disputed)


def text_rates(today: date) -> tuple[Decimal, Decimal]:
    """USD per million tokens in and out of the text model, as a policy folder writes them."""
    rates = _known(TEXT_MODEL, today).price.tokens
    return Decimal(rates.input * _PER_1M) / PICO_PER_USD, Decimal(rates.output * _PER_1M) / PICO_PER_USD


def image_usd(answers: Answers) -> Fraction:
    return _image(answers).usd


def video_second_usd(today: date) -> Fraction:
    """Of the model that is sold by the second."""
    return Fraction(_known(VEO_MODEL, today).price.media[0].pico, PICO_PER_USD)


def gpu_usd(answers: Answers, kind: str) -> Fraction:
    """USD for one GPU and hour: as the team says, else the book's."""
    said = answers.h100_usd if kind == "H100" else answers.h200_usd
    if said is not None:
        return said
    hour = book.gpu(kind)
    if hour is None:
        raise LookupError(f"the price book has no hour of {kind}")
    return Fraction(hour.usd_per_hour)


def gpu_source(kind: str) -> str:
    hour = book.gpu(kind)
    return "" if hour is None else f"{hour.source}, {hour.as_of}"


def own(answers: Answers, medium: Medium) -> Own:
    """The model that our GPUs would serve."""
    if answers.fine_tuned != medium:
        return OPEN_MODELS[medium]
    if answers.model_gb is not None:
        return Own("your fine-tuned model", answers.model_gb, "as you say")
    if answers.parameters_b is not None:
        said = f"{float(answers.parameters_b):g} billion parameters in 16 bits"
        return Own("your fine-tuned model", answers.parameters_b * _BYTES_PER_PARAMETER, said)
    return Own("your fine-tuned model", OPEN_MODELS[medium].gb, f"as {OPEN_MODELS[medium].model}; say yours")


def _known(model: str, today: date) -> book.Known:
    known = book.find(PROVIDER, model, today)
    if known is None:
        raise LookupError(f"the price book has no {model} at {PROVIDER}")
    return known


def _usd(usd: Fraction) -> str:
    """Cents, or as many decimals as it has."""
    text = f"{float(usd):.6f}".rstrip("0")
    return f"${float(usd):.2f}" if len(text.partition(".")[2]) <= 2 else f"${text}"
