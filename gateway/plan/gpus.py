"""How many GPUs of which kind hold a model, and how much they make in an hour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from gateway.plan.answers import Answers, BadAnswer, Medium
from gateway.plan.prices import OPEN_MODELS, Own, gpu_usd
from gateway.routing.priors import MEMORY_GB, speed_of

KINDS: Final = ("H100", "H200")
SHARED_BY: Final = (1, 2, 4, 8, 16, 32, 64)
"""Tensor-parallel degrees: powers of two, because attention heads are divided evenly."""
GPUS_PER_NODE: Final = 8

_SEATS: Final = 128
"""Sequences at once, half of them busy: the batch that docs and priors speak of."""
_GPUS_OF_PRIOR: Final = 2
"""The prior's worker: a 70B model in 8 bits takes two H100 by the memory rule."""
_SECONDS_PER_HOUR: Final = 3600

_PER_GPU_HOUR: Final[Mapping[Medium, Fraction]] = {
    "image": Fraction(3600),
    "video": Fraction(10),
    "audio": Fraction(360_000),
}
"""At full use, of the open model of that medium: an image of 1024x1024 in 4 steps takes a second; 5 s of 720p half an
hour; speech is made at 100 times its length. Estimates within a factor of two: measure yours."""
_SPEED_KEYS: Final[Mapping[Medium, tuple[str, int]]] = {
    "text": ("tokens_per_gpu_second", _SECONDS_PER_HOUR),
    "image": ("images_per_gpu_hour", 1),
    "video": ("video_seconds_per_gpu_hour", 1),
    "audio": ("audio_seconds_per_gpu_hour", 1),
}


@dataclass(frozen=True, slots=True)
class Worker:
    """The smallest set of GPUs that serves a model."""

    medium: Medium
    model: Own
    kind: str
    gpus: int
    needs_gb: Fraction
    has_gb: Fraction
    usd_per_hour: Fraction
    """Of all its GPUs."""
    per_hour: Fraction
    """Units of its medium at full use."""


def worker(answers: Answers, medium: Medium, model: Own) -> Worker:
    """The cheapest that holds it; of equals the one with fewer GPUs. Raises BadAnswer where none does."""
    needs = model.gb * answers.memory_headroom
    fits = [(gpu_usd(answers, kind) * gpus, gpus, kind) for kind in kinds(answers) if (gpus := _least(needs, kind))]
    if not fits:
        raise BadAnswer("model_gb", f"{float(needs):,.0f} GB with headroom is more than {SHARED_BY[-1]} GPUs hold")
    usd, gpus, kind = min(fits)
    has = gpus * Fraction(str(MEMORY_GB[kind]))
    return Worker(medium, model, kind, gpus, needs, has, usd, gpus * _per_gpu_hour(answers, medium, kind, model))


def kinds(answers: Answers) -> tuple[str, ...]:
    """Where nothing may overflow, H200 as the guide's matrix says: its memory is the only reserve."""
    if answers.gpu != "auto":
        return (answers.gpu,)
    return ("H200",) if answers.compliance == "localisation" else KINDS


def _least(needs_gb: Fraction, kind: str) -> int:
    """The smallest degree that holds it, 0 where none does."""
    each = Fraction(str(MEMORY_GB[kind]))
    return next((gpus for gpus in SHARED_BY if gpus * each >= needs_gb), 0)


def _per_gpu_hour(answers: Answers, medium: Medium, kind: str, model: Own) -> Fraction:
    """As measured where somebody says so; else the open model's, less by as much as this one is larger."""
    key, per_hour = _SPEED_KEYS[medium]
    said: Fraction | None = getattr(answers, key)
    if said is not None:
        return said * per_hour
    usual = _tokens_per_gpu_hour(answers, kind) if medium == "text" else _PER_GPU_HOUR[medium]
    return usual * OPEN_MODELS[medium].gb / model.gb


def _tokens_per_gpu_hour(answers: Answers, kind: str) -> Fraction:
    """From the priors that the gateway itself starts with (routing/priors.py): ms of a worker per token of the mix."""
    speed, share = speed_of(kind), answers.prompt_share
    per_output = Fraction(str(speed.step_ms)) / (_SEATS // 2) + Fraction(str(speed.per_seq_ms))
    ms = share * Fraction(str(speed.per_prompt_token_ms)) + (1 - share) * per_output
    return 1000 * _SECONDS_PER_HOUR / ms / _GPUS_OF_PRIOR
