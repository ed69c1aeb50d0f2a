"""What can be asked of the ledger and what comes back, in words that need no database."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

from gateway.errors import InvalidRequest
from gateway.model import micro_usd

TAG, DAY, HOUR = "tag", "day", "hour"
FILTERS = (
    "tenant",
    "key",
    "model",
    "backend",
    "upstream",
    "outcome",
    "reason",
    "result",
    "rule",
    "pipeline",
    "endpoint",
    "kind",
    "payer",
    "state",
    "basis",
    "role",
    "served_as",
    "version",
    "gpu_kind",
)
"""Columns that can be asked for, and grouped by; so can tags."""
GROUPED = (*FILTERS, DAY, HOUR, TAG)
MONEY = (
    "cost",
    "list_cost",
    "bought_cost",
    "own_cost",
    "tenant_cost",
    "operator_cost",
    "estimated_cost",
    "unreconciled_cost",
    "marked_cost",
    "simulated_cost",
)
"""Measures in micro-dollars."""
LISTED = (
    "attempt",
    "request",
    "ended",
    "tenant",
    "key",
    "model",
    "backend",
    "upstream",
    "result",
    "reserved",
    "cost",
    "payer",
    "state",
)
"""What is told of single attempts."""
PAGE = ("by", "from", "to", "limit", "offset")
MOST_GROUPS, MOST_VALUES, MOST_PAGE = 6, 50, 10_000
MOST_LINES = 50_000
"""Of one report, before paging: more are nothing to be read, and would fill the memory."""
MOST_DIGITS, MOST_USD = 16, 10**9
LONGEST = 256
"""Characters of a value."""
_AGO = re.compile(r"([1-9][0-9]{0,4})([hd])")

Line = Mapping[str, Any]
"""Groups and measures by name: text, whole numbers, and `seconds` as a float. Money in micro-dollars."""


@dataclass(frozen=True, slots=True)
class Ask:
    """`since` and `until` (microseconds since the epoch, the latter excluded) are about the end of an attempt; `where`:
    column -> values, any of which will do; `tags` must all be there. `settled`: attempts that are settled alone, of
    real money or of any."""

    by: tuple[str, ...] = ()
    since: int | None = None
    until: int | None = None
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    limit: int = 1000
    offset: int = 0
    settled: Literal["real", "any"] | None = None


@dataclass(frozen=True, slots=True)
class Report:
    by: tuple[str, ...]
    lines: Sequence[Line]
    total: Line
    more: bool = False
    """There are lines after this page."""


UNRECONCILED: Mapping[str, tuple[str, ...]] = {"state": ("unreconciled",)}
"""`Ask.where` of what is booked at what was set aside."""


def ask_of(
    given: Iterable[tuple[str, str]],
    now: float,
    groups: Sequence[str] = GROUPED,
    filters: Sequence[str] = (*FILTERS, TAG),
    most: int = MOST_PAGE,
) -> Ask:
    """Of names and values as a query string has them: by, from, to, limit, offset, and `filters`. Each of those
    may stand several times, `by` may hold several names with commas. `most`: lines of a page. Raises InvalidRequest."""
    found: dict[str, list[str]] = {}
    for name, value in given:
        if "\0" in value:
            raise InvalidRequest(f"{name}: holds a NUL", param=name)
        if len(value) > LONGEST:
            raise InvalidRequest(f"{name}: longer than {LONGEST} characters", param=name)
        found.setdefault(name, []).append(value)
    for name in found:
        if name not in (*PAGE, *filters):
            said = f"{name}: not known; one of {', '.join((*PAGE, *filters))}"
            raise InvalidRequest(said, param=name)
    if max(map(len, found.values()), default=0) > MOST_VALUES:
        raise InvalidRequest(f"more than {MOST_VALUES} values of one name")
    by = tuple(dict.fromkeys(one.strip() for text in found.get("by", ()) for one in text.split(",") if one.strip()))
    for name in by:
        if name not in groups:
            raise InvalidRequest(f"by: `{name}` is none of {', '.join(groups)}", param="by")
    if len(by) > MOST_GROUPS:
        raise InvalidRequest(f"by: more than {MOST_GROUPS} names", param="by")
    since, until = _moment("from", found, now), _moment("to", found, now)
    if since is not None and until is not None and since >= until:
        raise InvalidRequest("from: is not before `to`, so that nothing lies between", param="from")
    return Ask(
        by,
        since,
        until,
        {name: tuple(found[name]) for name in FILTERS if name in found},
        tuple(found.get(TAG, ())),
        _number("limit", found, 1000, 1, most),
        _number("offset", found, 0, 0, 2**31),
    )


def _moment(name: str, found: Mapping[str, Sequence[str]], now: float) -> int | None:
    """Microseconds since the epoch of a date (its first moment), a time, or `7d` or `12h` ago. UTC unless it says."""
    if name not in found:
        return None
    text = found[name][-1]
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            unit = timedelta(days=1) if ago[2] == "d" else timedelta(hours=1)
            at = datetime.fromtimestamp(now, UTC) - int(ago[1]) * unit
        else:
            at = datetime.fromisoformat(text)
            at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        return (at - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        said = f"{name}: a date (2026-11-22), a time (2026-11-22T13:00Z), or so long ago (7d, 12h)"
        raise InvalidRequest(said, param=name) from None


def _number(name: str, found: Mapping[str, Sequence[str]], default: int, least: int, most: int) -> int:
    if name not in found:
        return default
    text = found[name][-1]
    if not (text.isascii() and text.isdigit() and len(text) < 12 and least <= int(text) <= most):
        raise InvalidRequest(f"{name}: a whole number from {least} to {most}", param=name)
    return int(text)


def share_of(name: str, text: str) -> Fraction:
    """More than 0, at most 1, exactly as written. Raises InvalidRequest."""
    found = _decimal(name, text)
    if not 0 < found <= 1:
        raise InvalidRequest(f"{name}: more than 0 and at most 1", param=name)
    return Fraction(found)


def micro_of(name: str, text: str) -> int:
    """USD in micro-dollars. Raises InvalidRequest."""
    found = _decimal(name, text)
    if not 0 < found <= MOST_USD:
        raise InvalidRequest(f"{name}: USD, more than 0 and at most {MOST_USD}", param=name)
    return micro_usd(found)


def _decimal(name: str, text: str) -> Decimal:
    if len(text) > MOST_DIGITS or not text.replace(".", "", 1).isdigit() or not text.isascii():
        raise InvalidRequest(f"{name}: a number such as 0.75", param=name)
    return Decimal(text)
