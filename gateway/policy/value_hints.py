"""Values that are wrong in a way that many write: percents, money with its sign, keys one level off."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

_PERCENT: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*")
_MONEY: Final = re.compile(r"\s*(?:\$|USD)?\s*([0-9]+(?:\.[0-9]+)?)\s*(?:\$|USD)?\s*", re.IGNORECASE)
_WHOLE: Final = 100
"""Of a share in percent."""
_LEAST: Final = 2
"""Less than 2 % is seldom meant, and 1 may be the whole."""

Where = tuple[int | str, ...]
KeysAt = Callable[[Where], list[str]]


def number_hint(kind: str, given: Any, context: Mapping[str, Any]) -> str:
    """The end of the sentence about a number: what to write instead, or nothing. `kind`: pydantic's error."""
    if kind in ("less_than", "less_than_equal") and 1 in (context.get("lt"), context.get("le")):
        return f"; write {given / _WHOLE:g} for {given:g} %" if _LEAST <= given <= _WHOLE else ""
    if kind in ("float_type", "int_type") and isinstance(given, str):
        if (percent := _PERCENT.fullmatch(given)) and kind == "float_type":
            return f"; write {float(percent[1]) / _WHOLE:g} for {percent[1]} %"
        if (money := _MONEY.fullmatch(given)) and money[1] != given:
            return f"; write {money[1]}"
    return ""


def home_of(where: Where, keys_at: KeysAt) -> str | None:
    """The part of a rule that a key belongs to which stands at `where`, in another part; None if it is in none."""
    if where[:1] == ("rules",) and len(where) > 2:
        rule, rest = where[:2], where[2:-1]
        parts: dict[str, Where] = {"match": ("match",), "route": ("route",), "spill": ("route", "spill")}
    elif where[:1] == ("defaults",) or (where[:1] == ("named",) and len(where) > 2):
        depth = 1 if where[0] == "defaults" else 2
        rule, rest = where[:depth], where[depth:-1]
        parts = {"spill": ("spill",)}
    else:
        return None
    if rest not in ((), *parts.values()):
        return None
    homes = [name for name, part in parts.items() if part != rest and where[-1] in keys_at((*rule, *part))]
    return " or ".join(f"`{name}`" for name in homes) or None
