"""What an API's answer says about the rate limits of our account. Pure; the facts are those of the vendors' pages.

========================================  ===========================================  =====================
OpenAI and most that speak like it        `x-ratelimit-{limit,remaining,reset}-UNIT`    reset: `350ms`, `6m0s`
Anthropic                                 `anthropic-ratelimit-UNIT-{limit,...}`        reset: RFC 3339 time
IETF draft, up to -06                     `ratelimit-{limit,remaining,reset}`           reset: seconds
IETF draft, from -08                      `ratelimit: "p";r=5;t=30`, `ratelimit-policy: "p";q=100`
========================================  ===========================================  =====================

The first two refill all the time and are full again at their reset; the draft's is a window that ends then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from gateway.model import Allowance

USUAL_RESET_SECONDS = 60.0
"""Where none is told: limits are per minute."""
LONGEST_RESET_SECONDS = 86_400.0
FIRST_DATE = 1e9
"""A reset from here on is no duration but a date: seconds since the epoch (2001), as some vendors send."""
MOST = 1e12
"""No limit is higher: what is, was not meant as one."""
_OPENAI = re.compile(r"x-ratelimit-(limit|remaining|reset)-([a-z-]{1,32})")
_ANTHROPIC = re.compile(r"anthropic-ratelimit-([a-z-]{1,32})-(limit|remaining|reset)")
_DRAFT = re.compile(r"ratelimit-(limit|remaining|reset)")
_DURATION = re.compile(
    r"(?:(\d{1,4})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,8}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?"
)
_NUMBER = re.compile(r"\s*(\d{1,15}(?:\.\d{1,9})?)")
_PARAMETER = re.compile(r";\s*([a-z]+)=(\d{1,15})")
_FACTORS = (3600.0, 60.0, 1.0, 0.001)


def allowances(headers: Iterable[tuple[bytes, bytes]], now: float) -> tuple[Allowance, ...]:
    """One for each unit that is told in full; `headers` have names in lower case, `now` is seconds since the epoch.

    What is odd is left out, and so is a limit of 0 or less, which some vendors send where they have none.
    """
    told: dict[tuple[str, str], dict[str, str]] = {}
    for raw_name, raw_value in headers:
        if b"ratelimit" in raw_name:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            for style, unit, word in _words(name):
                told.setdefault((style, unit), {})[word] = value
    made = [
        _structured(words) if style == "field" else _plain(style, unit, words, now)
        for (style, unit), words in told.items()
    ]
    return tuple(one for one in made if one is not None)


def _words(name: str) -> Iterator[tuple[str, str, str]]:
    """(style, unit, word) of a header's name."""
    if match := _OPENAI.fullmatch(name):
        yield "openai", match[2], match[1]
    elif match := _ANTHROPIC.fullmatch(name):
        yield "anthropic", match[1], match[2]
    elif match := _DRAFT.fullmatch(name):
        yield "draft", "requests", match[1]
    elif name in ("ratelimit", "ratelimit-policy"):
        yield "field", "requests", name


def _plain(style: str, unit: str, words: Mapping[str, str], now: float) -> Allowance | None:
    limit, remaining = _number(words.get("limit")), _number(words.get("remaining"))
    if not limit or remaining is None:
        return None
    reset = _reset(style, words.get("reset"), now)
    return _allowance(unit, limit, remaining, reset, refills=style != "draft")


def _structured(words: Mapping[str, str]) -> Allowance | None:
    """Of several policies the one whose state is told first."""
    name, _, told = words.get("ratelimit", "").partition(",")[0].partition(";")
    policies = [one.strip().partition(";") for one in words.get("ratelimit-policy", "").split(",")]
    of_it = next((rest for policy, _, rest in policies if policy == name.strip()), "")
    now, quota = (dict[str, str](_PARAMETER.findall(f";{text}")) for text in (told, of_it))
    if "r" not in now or not int(quota.get("q", 0)):
        return None
    reset = float(now.get("t") or quota.get("w") or USUAL_RESET_SECONDS)
    return _allowance("requests", float(quota["q"]), float(now["r"]), reset, refills=False)


def _allowance(unit: str, limit: float, remaining: float, reset: float, *, refills: bool) -> Allowance:
    bounded = min(max(reset, 0.0), LONGEST_RESET_SECONDS)
    return Allowance(unit, min(limit, MOST), min(remaining, limit, MOST), bounded, refills)


def _number(text: str | None) -> float | None:
    match = _NUMBER.match(text or "")
    return float(match[1]) if match else None


def _reset(style: str, text: str | None, now: float) -> float:
    """Seconds from now."""
    if text is None:
        return USUAL_RESET_SECONDS
    if style == "anthropic":
        try:
            return datetime.fromisoformat(text.strip().replace("Z", "+00:00")).timestamp() - now
        except (ValueError, OverflowError):
            return USUAL_RESET_SECONDS
    match = _DURATION.fullmatch(text.strip())
    if match and any(match.groups()):
        return sum(float(part or 0) * factor for part, factor in zip(match.groups(), _FACTORS, strict=True))
    seconds = _number(text)
    if seconds is None:
        return USUAL_RESET_SECONDS
    return seconds - now if seconds >= FIRST_DATE else seconds
