"""Parts of a rule in the words of the policy language."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import tzinfo
from typing import Any

from gateway.model import Demand, Match, Threshold, Window
from gateway.routing.signals import in_words

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NOISE = 1e-9
"""Of a division: 0.3 / 0.01 is a little more than 30."""
_SHORTEST = 0.001
_BOUNDS = frozenset({"prompt_tokens", "output_tokens"})


def usd(amount: float) -> str:
    return "$" + (f"{amount:.7f}".rstrip("0").rstrip("."))


def rounded_up(number: float) -> float:
    """Seconds to two digits that count, and not below `number`: who is told a wait waits no longer."""
    if number <= _SHORTEST:
        return _SHORTEST if number > 0 else 0.0
    place = math.floor(math.log10(number)) - 1
    return float(f"{math.ceil(number / 10**place - _NOISE)}e{place}")


def percent(share: float) -> str:
    return f"{100 * share:.4g}%"


def bounds(given: tuple[int | None, int | None]) -> str:
    low, high = given
    if low is None:
        return f"at most {high}"
    return f"at least {low}" if high is None else f"{low} to {high}"


def words(value: Any) -> str:
    """A value of a rule as a person would write it; nothing at all is `none`."""
    if isinstance(value, Threshold):
        return in_words(value)
    if isinstance(value, Demand):
        return ", ".join(value.words()) or "none"
    if isinstance(value, Window):
        days = ",".join(_DAYS[day] for day in sorted(value.days))
        return f"{days} {_clock(value.begin)}-{_clock(value.end)} {_zone(value.timezone)}"
    if isinstance(value, str):
        return value or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {words(inner)}" for key, inner in sorted(value.items())) or "none"
    if isinstance(value, frozenset):
        return ", ".join(sorted(map(words, value))) or "none"
    if isinstance(value, tuple):
        return ", ".join(words(inner) for inner in value) or "none"
    if is_dataclass(value):
        held = {one.name: getattr(value, one.name) for one in fields(value)}
        return (
            "{" + ", ".join(f"{name} {words(inner)}" for name, inner in held.items() if inner not in (None, ())) + "}"
        )
    return "none" if value is None else str(value)


def condition_words(name: str, value: Any) -> str:
    """One condition of a match."""
    if name == "when":
        return str(value.source)
    if name in _BOUNDS:
        return bounds(value)
    if name == "headers":
        return ", ".join(f"{header}: {glob}" for header, glob in value)
    return " or ".join(map(words, value)) if isinstance(value, tuple) else words(value)


def conditions(match: Match) -> dict[str, Any]:
    """What of a match is written, in the order of the language."""
    usual = Match()
    held = {one.name: getattr(match, one.name) for one in fields(match)}
    return {name: value for name, value in held.items() if value != getattr(usual, name)}


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _zone(zone: tzinfo) -> str:
    return str(zone)
