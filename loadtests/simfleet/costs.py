"""How much a request for media asks of a simulated GPU, in the units of `WorkerConfig.unit_s`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEFAULT_VIDEO_S = 4.0
DEFAULT_FPS = 16.0
DEFAULT_SIZE = (1024, 1024)
SPOKEN_PER_S = 15.0
"""Characters."""
_REFERENCE_PIXELS = DEFAULT_SIZE[0] * DEFAULT_SIZE[1]
_MOST_SIDE = 8192


def pixels(asked: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height; what is no size is the default one."""
    given = asked.get("size")
    width, _, height = (given if isinstance(given, str) else "").lower().partition("x")
    if not (width.isdigit() and height.isdigit() and 0 < int(width) <= _MOST_SIDE and 0 < int(height) <= _MOST_SIDE):
        return DEFAULT_SIZE
    return int(width), int(height)


def count(asked: Mapping[str, Any]) -> int:
    return max(1, round(number(asked.get("n"), 1.0)))


def seconds(asked: Mapping[str, Any]) -> float:
    """Of film that a body asks for."""
    frames = number(asked.get("num_frames"), 0.0)
    return number(asked.get("seconds"), frames / number(asked.get("fps"), DEFAULT_FPS) if frames else DEFAULT_VIDEO_S)


def units(kind: str, asked: Mapping[str, Any], reference_steps: int) -> float:
    """Pictures, seconds of film, seconds of speech. With `reference_steps` above 0 pictures and films weigh as much as
    they cost: steps x pixels, relative to so many steps at 1024x1024."""
    if kind == "speech":
        return len(str(asked.get("input") or "")) / SPOKEN_PER_S
    plain = seconds(asked) if kind == "video" else float(count(asked))
    if not reference_steps:
        return plain
    width, height = pixels(asked)
    steps = number(asked.get("num_inference_steps"), float(reference_steps))
    return plain * steps / reference_steps * width * height / _REFERENCE_PIXELS


def number(value: Any, default: float) -> float:
    """Above 0; of a form it is a text."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return default
    return found if 0 < found < float("inf") else default
